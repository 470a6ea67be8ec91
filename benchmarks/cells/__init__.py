"""The contestants of a training step, one family per cell."""

from benchmarks.cells.family import Family
from benchmarks.cells.rnn import Elman

FAMILIES: dict[str, type[Family]] = {"rnn": Elman}
