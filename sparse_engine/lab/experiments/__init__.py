"""Published experiments, each run by one command: ``sparse-engine reproduce NAME``."""

from __future__ import annotations

from collections.abc import Callable

from sparse_engine.lab.experiments.experiment import Experiment as Experiment
from sparse_engine.lab.experiments.experiment import Plan as Plan
from sparse_engine.lab.experiments.experiment import Row as Row
from sparse_engine.lab.experiments.experiment import read_rows as read_rows
from sparse_engine.lab.experiments.experiment import report as report
from sparse_engine.lab.experiments.experiment import table as table
from sparse_engine.lab.experiments.neurobench import neurobench
from sparse_engine.lab.experiments.quick_selection import QuickSelection
from sparse_engine.lab.experiments.selfish import SELFISH
from sparse_engine.lab.experiments.set import SET
from sparse_engine.lab.experiments.synapses import Synapses
from sparse_engine.lab.experiments.topology_distance import TopologyDistance
from sparse_engine.lab.experiments.which_method import WHICH_METHOD
from sparse_engine.lab.experiments.zhang import ZHANG
from sparse_engine.lab.experiments.zhang_balance import balance_along_training
from sparse_engine.lab.experiments.zhang_continuous import CONTINUOUS
from sparse_engine.lab.experiments.zhang_initial_balance import initial_balance
from sparse_engine.lab.experiments.zhang_lesions import ZhangLesions

#: Functions that make the experiments, by name.
EXPERIMENTS: dict[str, Callable[[], Experiment]] = {
    **{each.name: each for each in (QuickSelection, Synapses, TopologyDistance)},
    **SET,
    **SELFISH,
    **ZHANG,
    "neurobench-mackey-glass": neurobench,
    **CONTINUOUS,
    **WHICH_METHOD,
    "zhang-balance": balance_along_training,
    "zhang-initial-balance": initial_balance,
    "zhang-lesions": ZhangLesions,
}
