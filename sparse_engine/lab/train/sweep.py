"""Runs for every combination of some settings."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

from sparse_engine.lab.train.config import Config
from sparse_engine.lab.train.methods import METHODS
from sparse_engine.lab.train.workers import Job


def sweep(config: Config, folder: Path, **values: Iterable[Any]) -> list[Job]:
    """Return a job for every combination of values of some settings.

    The folder of a run is ``<folder>/method=set,density=0.05/seed=0``: the names and values of the
    settings in their order, and the seed in a folder of its own. A density is that at the end: with
    the methods that prune, ``final_density`` is set to it, and a run starts dense.

    Args:
        config: settings of all runs.
        folder: folder of the whole sweep.
        **values: values of each setting, by the names that :meth:`Config.replaced` takes.

    Example:
        >>> config = Config.published("gesture")
        >>> jobs = sweep(config, Path("runs/sweep"), method=["set", "rigl"], seed=range(5))
        >>> results = list(run_all(jobs))
    """
    lists = {name: list(each) for name, each in values.items()}
    jobs = []
    for chosen in product(*lists.values()):
        settings = dict(zip(lists, chosen, strict=True))
        group = ",".join(f"{name}={each}" for name, each in settings.items() if name != "seed")
        seed = f"seed={settings.get('seed', config.seed)}"
        each = config.replaced(**{n: v for n, v in settings.items() if n != "density"})
        if "density" in settings:
            each = each.replaced(**density_settings(each.method.name, settings["density"]))
        each.check()
        jobs.append(Job(folder / group / seed, each))
    if not jobs or len({job.folder for job in jobs}) < len(jobs):
        raise ValueError(f"expected different values of each setting, found {lists}")
    return jobs


def density_settings(method: str, density: float) -> dict[str, float]:
    """Return the settings of a density at the end; a run of a method that prunes starts dense."""
    if METHODS[method].prunes:
        return {"density": 1.0, "final_density": density}
    return {"density": density}
