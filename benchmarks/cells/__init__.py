"""The contestants of a training step, one family per cell."""

from benchmarks.cells.family import Family
from benchmarks.cells.gru import Gru
from benchmarks.cells.lstm import Lstm
from benchmarks.cells.ltc import Ltc
from benchmarks.cells.rnn import Elman

FAMILIES: dict[str, type[Family]] = {"rnn": Elman, "lstm": Lstm, "gru": Gru, "ltc": Ltc}
