"""Operations on sparse weights: each one native, differentiable, and with a slow twin ``*_ref``."""

from sparse_engine.ops.linear import linear as linear
from sparse_engine.ops.pattern import Links as Links
from sparse_engine.ops.pattern import Pattern as Pattern
from sparse_engine.ops.rnn import ACTIVATIONS as ACTIVATIONS
from sparse_engine.ops.rnn import rnn as rnn
from sparse_engine.ops.rnn import rnn_ref as rnn_ref
from sparse_engine.ops.scan import scan_absent as scan_absent
from sparse_engine.ops.scan import scan_absent_ref as scan_absent_ref
from sparse_engine.ops.sddmm import sddmm as sddmm
from sparse_engine.ops.sddmm import sddmm_ref as sddmm_ref
from sparse_engine.ops.spmm import spmm as spmm
from sparse_engine.ops.spmm import spmm_ref as spmm_ref
from sparse_engine.ops.spmm import spmm_t as spmm_t
from sparse_engine.ops.spmm import spmm_t_ref as spmm_t_ref
from sparse_engine.ops.topology import RandomKey as RandomKey
from sparse_engine.ops.topology import Rewired as Rewired
from sparse_engine.ops.topology import carry as carry
from sparse_engine.ops.topology import carry_ref as carry_ref
from sparse_engine.ops.topology import rewire as rewire
from sparse_engine.ops.topology import sample_absent as sample_absent
from sparse_engine.ops.topology import sample_absent_ref as sample_absent_ref
from sparse_engine.ops.topology import smallest as smallest
from sparse_engine.ops.topology import smallest_ref as smallest_ref
