"""Runs in this process, with a rewiring method that settings cannot describe."""

from __future__ import annotations

from pathlib import Path

from sparse_engine.lab.experiments.training import Finished
from sparse_engine.lab.train import Config, Run
from sparse_engine.lab.train.run import MethodFactory


def trained(folder: Path, config: Config, method: MethodFactory) -> Finished:
    """Make a run, or what is left of it, and return it.

    Args:
        folder: the run's folder.
        config: the settings; those of the method do not matter.
        method: function that makes the rewiring for a model and its optimizer.

    Raises:
        KeyboardInterrupt: Ctrl-C, once the run has saved its state.
    """
    begun = (folder / "checkpoint.json").exists()
    result = Run(folder, config, method=method, resume=begun).train(progress=False)
    if not result.finished:
        raise KeyboardInterrupt
    return Finished(folder, config, result)
