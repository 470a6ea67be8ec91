"""Runs in worker processes, several at a time."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm.auto import tqdm

from sparse_engine.topology import Measure
from sparse_engine.train.config import Config
from sparse_engine.train.run import Result, Run


@dataclass(frozen=True)
class Job:
    """Run to be made: its folder and settings.

    Attributes:
        folder: folder of the run. One with a run in it is resumed; a finished run is not repeated.
        config: the settings.
        measures: measures that add to topology.jsonl.
    """

    folder: Path
    config: Config
    measures: tuple[Measure, ...] = ()

    def __call__(self) -> Result:
        """Make the run, or what is left of it."""
        begun = (self.folder / "checkpoint.json").exists()
        run = Run(self.folder, self.config, measures=self.measures, resume=begun)
        return run.train(progress=False)


def run_all(
    jobs: Iterable[Job], *, workers: int | None = None, progress: bool = True
) -> Iterator[tuple[Job, Result]]:
    """Make runs in worker processes, and yield each job with its result as it ends.

    Ctrl-C ends the workers after their current steps; the same call then resumes every run.

    Args:
        jobs: the runs to be made.
        workers: number of processes; by default one for each core. The cores are shared out among
            the processes as threads.
        progress: whether to show a progress bar.

    Raises:
        KeyboardInterrupt: Ctrl-C, once every run has saved its state.
        Exception: what a run raises; the other runs have then ended, too.
    """
    jobs = list(jobs)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = max(1, min(workers or cores or 1, len(jobs)))
    threads = max(1, (cores or 1) // workers)
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(threads,),
    )
    with pool, tqdm(total=len(jobs), unit="run", disable=not progress) as bar:
        waiting: dict[Future, Job] = {pool.submit(job): job for job in jobs}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    job, result = waiting.pop(future), future.result()
                    if not result.finished:
                        raise KeyboardInterrupt
                    bar.update()
                    yield job, result
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
