"""The contestants of a training step, one family per cell."""

from benchmarks.cells.bfloat16 import (
    BFloat16,
    BFloat16Ctrnn,
    BFloat16Gru,
    BFloat16Lstm,
    BFloat16OnLstm,
    BFloat16Rhn,
)
from benchmarks.cells.continuous import Ctrnn, NeuralOde, RateRnn
from benchmarks.cells.family import Family
from benchmarks.cells.gru import Gru
from benchmarks.cells.lif import Spiking
from benchmarks.cells.lstm import Lstm
from benchmarks.cells.ltc import Ltc
from benchmarks.cells.on_lstm import OrderedNeurons
from benchmarks.cells.reset_gated import family_of
from benchmarks.cells.rhn import Highway
from benchmarks.cells.rnn import Elman
from sparse_engine.nn import CELLS
from sparse_engine.nn.cells.gru import ResetGatedCell

FAMILIES: dict[str, type[Family]] = {
    "rnn": Elman,
    "lstm": Lstm,
    "gru": Gru,
    "ctrnn": Ctrnn,
    "rate_rnn": RateRnn,
    "neural_ode": NeuralOde,
    "rhn": Highway,
    "on_lstm": OrderedNeurons,
    "ltc": Ltc,
    "lif": Spiking,
    "bfloat16": BFloat16,
    "bfloat16_lstm": BFloat16Lstm,
    "bfloat16_gru": BFloat16Gru,
    "bfloat16_rhn": BFloat16Rhn,
    "bfloat16_on_lstm": BFloat16OnLstm,
    "bfloat16_ctrnn": BFloat16Ctrnn,
}
FAMILIES |= {
    name: family_of(entry)
    for name, entry in CELLS.items()
    if name not in FAMILIES and issubclass(entry.cell, ResetGatedCell)
}
