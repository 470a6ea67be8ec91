"""Training runs: settings, the loop, checkpoints and logs."""

from sparse_engine.extras import extra as _extra

with _extra("train"):
    import safetensors  # noqa: F401
    import scipy  # noqa: F401
    import tqdm  # noqa: F401
    import tyro  # noqa: F401

from sparse_engine.lab.train.checkpoint import Checkpoint as Checkpoint
from sparse_engine.lab.train.checkpoint import CheckpointError as CheckpointError
from sparse_engine.lab.train.compare import Comparison as Comparison
from sparse_engine.lab.train.compare import Group as Group
from sparse_engine.lab.train.compare import compare as compare
from sparse_engine.lab.train.config import Config as Config
from sparse_engine.lab.train.log import MetricsLog as MetricsLog
from sparse_engine.lab.train.log import read_metrics as read_metrics
from sparse_engine.lab.train.methods import METHODS as METHODS
from sparse_engine.lab.train.methods import Method as Method
from sparse_engine.lab.train.optimization import Optimization as Optimization
from sparse_engine.lab.train.results import StoredRun as StoredRun
from sparse_engine.lab.train.results import read_runs as read_runs
from sparse_engine.lab.train.results import record_result as record_result
from sparse_engine.lab.train.run import Result as Result
from sparse_engine.lab.train.run import Run as Run
from sparse_engine.lab.train.weights import read_weights as read_weights
from sparse_engine.lab.train.workers import Job as Job
from sparse_engine.lab.train.workers import run_all as run_all
from sparse_engine.lab.train.workers import sweep as sweep
