"""Runs in worker processes, several at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from sparse_engine.files import write_atomically
from sparse_engine.topology import Measure
from sparse_engine.train.config import Config
from sparse_engine.train.run import Result, Run

#: File with the result of a run, in its folder.
RESULT = "result.json"


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
        """Make the run, or what is left of it, and write its result into the folder.

        The time in the result is that of all calls together.
        """
        before = self.result()
        if before is not None and before.finished:
            return before
        begun = (self.folder / "checkpoint.json").exists()
        run = Run(self.folder, self.config, measures=self.measures, resume=begun)
        result = run.train(progress=False)
        if before is not None:
            result = replace(result, seconds=result.seconds + before.seconds)
        write_atomically(self.folder / RESULT, json.dumps(asdict(result), indent=1).encode())
        return result

    def result(self) -> Result | None:
        """Return the result in the folder, if it has one of these settings.

        Raises:
            ValueError: the folder has the run of other settings.
        """
        try:
            config = json.loads((self.folder / "config.json").read_bytes())
            found = json.loads((self.folder / RESULT).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        if config != self.config.to_json():
            raise ValueError(
                f"expected a run of other settings in another folder than {self.folder}, found "
                "config.json with different settings; remove the folder, or choose another"
            )
        return Result(**found)


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
