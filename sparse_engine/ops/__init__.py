"""Operations on sparse weights: native, differentiable, each with a ``reference`` in plain torch.

``ops.lstm.reference`` computes what ``ops.lstm`` does by dense weights, to any derivative.

Operations on whole sequences, such as :func:`lstm`, have this in common. They are differentiable
once, in all tensors of real numbers, which are float32 or float64.

- ``w_input``, dense ``[gates * hidden, inputs]``, is meant for few inputs: it is read again at
  every step. Without it ``x`` is the input's contribution to each gate, ``x @ w_input.T``.
- ``batch_sizes``, int64 on the CPU, is for sequences of different lengths, as a
  :class:`torch.nn.utils.rnn.PackedSequence` has it. Every ``[steps, batch, ...]`` is then
  ``[rows, ...]``, as its data; what has ended costs nothing.
- ``resets``, bool ``[steps, batch]``: where ``resets[t]`` is true an episode begins, and the state
  before step t is zero, with no gradient. Not with ``batch_sizes``. None for nowhere.
- bfloat16: with float32 values on the CPU, x and h0 may be bfloat16, and become it under
  ``torch.autocast("cpu", torch.bfloat16)``. Every output, every gradient inside the time loop and
  what is kept for the backward pass is rounded to within 2^-8 of itself (a gate above 1/2 to within
  2^-8 of its distance from 1). Other states, such as c, stay float32 from the first to the last
  step. Products and sums are taken in float32, and so are the gradients of the parameters. On a
  CUDA device, all is float32.
"""

from sparse_engine.machine import threads_within_quota as _threads_within_quota
from sparse_engine.ops import _topology_cuda as _topology_cuda
from sparse_engine.ops import influence as _influence  # noqa: F401  its shapes without data
from sparse_engine.ops import quantized as quantized
from sparse_engine.ops import topology as topology
from sparse_engine.ops._dispatch.native import library as _library
from sparse_engine.ops.conductance import Synapses as Synapses
from sparse_engine.ops.conductance import conductance as conductance
from sparse_engine.ops.conductance import ltc as ltc
from sparse_engine.ops.continuous import Solver as Solver
from sparse_engine.ops.continuous import ctrnn as ctrnn
from sparse_engine.ops.continuous import rate_rnn as rate_rnn
from sparse_engine.ops.gated import gru as gru
from sparse_engine.ops.gated import lstm as lstm
from sparse_engine.ops.gated import mgu as mgu
from sparse_engine.ops.gated import on_lstm as on_lstm
from sparse_engine.ops.gated import rnn as rnn
from sparse_engine.ops.lif import lif as lif
from sparse_engine.ops.normed import Norm as Norm
from sparse_engine.ops.normed import normed_lstm as normed_lstm
from sparse_engine.ops.normed import normed_rnn as normed_rnn
from sparse_engine.ops.pattern import Links as Links
from sparse_engine.ops.pattern import Pattern as Pattern
from sparse_engine.ops.products import linear as linear
from sparse_engine.ops.products import sddmm as sddmm
from sparse_engine.ops.products import spmm as spmm
from sparse_engine.ops.products import spmm_t as spmm_t
from sparse_engine.ops.random_key import RandomKey as RandomKey
from sparse_engine.ops.random_key import Use as Use
from sparse_engine.ops.rhn import rhn as rhn

if (_quota := _threads_within_quota()) is not None:
    _library.set_most_threads(_quota)
