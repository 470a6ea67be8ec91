"""Published experiments, each run by one command: ``sparse-engine reproduce NAME``."""

from __future__ import annotations

from sparse_engine.lab.experiments.neurobench import NEUROBENCH
from sparse_engine.lab.experiments.online_series import ONLINE_SERIES
from sparse_engine.lab.experiments.quick_selection import QUICK_SELECTION
from sparse_engine.lab.experiments.selfish import SELFISH
from sparse_engine.lab.experiments.set import MOCANU
from sparse_engine.lab.experiments.synapses import SYNAPSES
from sparse_engine.lab.experiments.topology_distance import TopologyDistance
from sparse_engine.lab.experiments.training import Experiment as Experiment
from sparse_engine.lab.experiments.training import Plan as Plan
from sparse_engine.lab.experiments.training import Row as Row
from sparse_engine.lab.experiments.training import read_rows as read_rows
from sparse_engine.lab.experiments.training import report as report
from sparse_engine.lab.experiments.training import table as table
from sparse_engine.lab.experiments.which_method import WHICH_METHOD
from sparse_engine.lab.experiments.zhang import ZHANG
from sparse_engine.lab.experiments.zhang_balance import BALANCE_ALONG_TRAINING, INITIAL_BALANCE
from sparse_engine.lab.experiments.zhang_lesions import ZhangLesions

_ALL: list[Experiment] = [QUICK_SELECTION, SYNAPSES, TopologyDistance(), *MOCANU, *SELFISH, *ZHANG]
_ALL += [
    NEUROBENCH,
    ONLINE_SERIES,
    *WHICH_METHOD,
    BALANCE_ALONG_TRAINING,
    INITIAL_BALANCE,
    ZhangLesions(),
]
#: The experiments, by name.
EXPERIMENTS: dict[str, Experiment] = {each.name: each for each in _ALL}
