"""Runs of every combination of settings, in worker processes, several at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from sparse_engine import machine
from sparse_engine.lab.tasks import Task
from sparse_engine.lab.train.config import Config
from sparse_engine.lab.train.methods import METHODS
from sparse_engine.lab.train.results import read_result, record_result
from sparse_engine.lab.train.run import MethodFactory, Result, Run
from sparse_engine.topology import Measure


@dataclass(frozen=True)
class Job:
    """Run to be made, in a folder; one that is begun is resumed, a finished one not repeated.

    ``method`` and ``measures`` are those of :class:`Run`, and have to be pickled for a worker.
    """

    folder: Path
    config: Config
    measures: tuple[Measure, ...] = ()
    method: MethodFactory | None = None
    pictures: bool = False

    def __call__(self) -> Result:
        """Make the run, or what is left of it, and record its result in result.json."""
        begun = (self.folder / "checkpoint.json").exists()
        config = replace(self.config, task=_with_data(self.config.task))
        run = Run(self.folder, config, method=self.method, measures=self.measures, resume=begun)
        return record_result(self.folder, run.train(progress=False, pictures=self.pictures))

    def result(self) -> Result | None:
        """Return the recorded result if the run is finished, else None."""
        result = read_result(self.folder)
        if result is None or not result.finished:
            return None
        with suppress(OSError, ValueError):
            record = json.loads((self.folder / "config.json").read_bytes())
            return result if Config.from_json(record) == self.config else None
        return None


#: The tasks of the latest jobs in this process, whose data need not be read again.
_tasks: deque[Task] = deque(maxlen=2)


def _with_data(task: Task) -> Task:
    for earlier in _tasks:
        if type(earlier) is type(task) and earlier == task:
            return earlier
    _tasks.append(task)
    return task


def run_all(
    jobs: Iterable[Job],
    *,
    workers: int | None = None,
    progress: bool = True,
    on_error: Callable[[Job, Exception], object] | None = None,
) -> Iterator[tuple[Job, Result]]:
    """Make runs in worker processes, and yield each job with its result as it ends.

    Finished runs come first, and no worker has to look at them. Ctrl-C ends the workers after their
    current steps, and so does the end of this process, whatever ends it; the same call then resumes
    every run. A program that calls this needs ``if __name__ == "__main__":`` around the call,
    because workers import its main module.

    Args:
        jobs: the runs to be made.
        workers: number of processes; by default one for each core. The threads that torch has in
            this process, such as those of OMP_NUM_THREADS, are shared out among the processes.
        progress: whether to show a progress bar.
        on_error: function that is called with a job and what its run raised, before the other runs
            go on; by default the exception ends them all.

    Raises:
        KeyboardInterrupt: Ctrl-C, once every run has saved its state.
        MemoryError: the system ended workers again and again, as where memory is short. After the
            end of one worker, the runs that were under way go on from their checkpoints.
    """
    jobs = list(jobs)
    results = [(job, job.result()) for job in jobs]
    open_jobs = [job for job, result in results if result is None]
    with tqdm(total=len(jobs), unit="run", disable=not progress) as bar:
        for job, result in results:
            if result is not None:
                bar.update()
                yield job, result
        yield from _run_again(open_jobs, workers, bar, on_error)


class _WorkerEnded(MemoryError):
    """The system ended a worker; a run that finds no memory raises another MemoryError."""


#: How often in a row workers may be ended before any run has ended.
LOSSES = 3


def _run_again(
    jobs: list[Job],
    workers: int | None,
    bar: tqdm,
    on_error: Callable[[Job, Exception], object] | None,
) -> Iterator[tuple[Job, Result]]:
    """Run jobs, and those that were not done again after the system has ended a worker.

    A run goes on from its checkpoint, so that a worker's end costs the steps since then.
    """
    losses = 0

    def refuse(job: Job, error: Exception) -> None:
        if on_error is None:
            raise error
        left.remove(job)
        on_error(job, error)

    while jobs:
        left = [*jobs]
        try:
            for job, result in _run_open(jobs, workers, bar, refuse):
                left.remove(job)
                yield job, result
            return
        except _WorkerEnded:
            losses = 0 if len(left) < len(jobs) else losses + 1
            if losses == LOSSES:
                raise
            jobs = left


def _run_open(
    jobs: list[Job],
    workers: int | None,
    bar: tqdm,
    on_error: Callable[[Job, Exception], object],
) -> Iterator[tuple[Job, Result]]:
    workers = max(1, min(workers or machine.cores(), len(jobs)))
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(max(1, torch.get_num_threads() // workers),),
    ) as pool:
        waiting: dict[Future, Job] = {}
        try:
            for job in jobs:
                waiting[pool.submit(_work, job)] = job
            while waiting:
                bar.set_postfix(running=min(workers, len(waiting)))
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    job = waiting.pop(future)
                    try:
                        result: Result | None = future.result()
                    except BrokenProcessPool as error:
                        raise _WorkerEnded(
                            "expected workers that live until their runs end, found one that the "
                            "system ended, as it does when memory is short; take fewer workers, "
                            "and the same call resumes every run"
                        ) from error
                    except Exception as error:
                        on_error(job, error)
                        bar.update()
                        continue
                    if result is None or not result.finished:
                        raise KeyboardInterrupt
                    bar.update()
                    yield job, result
        except BaseException:
            _end([each for each in multiprocessing.active_children() if each not in others])
            # Futures that wait are cancelled by the pool's own thread, which would fail at others.
            pool.shutdown(cancel_futures=True)
            raise


def _end(processes: list[BaseProcess]) -> None:
    """End processes: a run that trains saves its state first, otherwise there is none to save.

    They are asked until the last has ended. A signal between a run's last step and its end is only
    noted, and the worker would then wait for jobs at a queue whose lock another took with it.
    """
    while living := [each for each in processes if each.is_alive()]:
        for process in living:
            process.terminate()
        connection.wait([process.sentinel for process in living], timeout=1)


#: Whether a run in this worker was interrupted, so that the jobs in its queue are not begun.
_interrupted = threading.Event()


def _begin_worker(threads: int) -> None:
    # Ctrl-C in a terminal goes to all processes. Training listens to it, and the rest is ended by
    # the process that waits.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def _work(job: Job) -> Result | None:
    """Make a run, unless an earlier one in this worker was interrupted."""
    if _interrupted.is_set():
        return None
    result = job()
    if not result.finished:
        _interrupted.set()
    return result


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
