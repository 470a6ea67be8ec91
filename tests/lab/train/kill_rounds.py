"""Starts a run, kills it at random moments and goes on with it: ``kill_rounds.py METHOD FOLDER N``.

Each process of a run is a fork that is killed at a random moment from its start on, the first
checkpoint included, by SIGKILL or by Ctrl-C. Every run must end with the files of the run that was
never stopped. Goes on until N were killed before they ended, and prints how many.
"""

import os
import random
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path

import torch
from conftest import make

from sparse_engine import topology as t
from sparse_engine.lab.train import run as run_module

STEPS = 20
METHODS = {
    "SET": partial(t.SET, fraction=0.3, every=3, new_links=t.NormalInit(0.1)),
    "ImportanceSET": partial(t.ImportanceSET, every=3, prune_every=2, prune_after=1),
    "Static": t.Static,
    "DeepR": partial(t.DeepR, l1=0.1, temperature=0.01),
    "PeriodicDeepR": partial(t.PeriodicDeepR, l1=0.01, noise=0.1, every=3),
    "RigL": partial(t.RigL, steps=STEPS, every=3),
    "GSE": partial(t.GSE, steps=STEPS, every=3),
    "SNFS": partial(t.SNFS, steps=STEPS, every=3, window=2),
    "DSR": partial(t.DSR, threshold=0.02, every=3),
    "ITOP": partial(t.ITOP, steps=STEPS, every=3),
    "CHT": partial(t.CHT, every=3),
    "CHTs": partial(t.CHTs, steps=STEPS, every=3),
    "CHTss": partial(t.CHTss, steps=STEPS, density=0.1, start=0.3, every=3),
    "MEST": partial(t.MEST, steps=STEPS, every=3),
    "Selfish": partial(t.Selfish, steps=STEPS, every=3),
    "GraNet": partial(t.GraNet, steps=STEPS, density=0.1, start=0.3, last=15, every=3),
    "GradualPruning": partial(t.GradualPruning, density=0.1, start=0.3, last=15, every=3),
    "NarangPruning": partial(t.NarangPruning, density=0.1, ramp=t.NarangRamp(1, 8, 15), every=3),
}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def train(folder, method):
    """Train as a user does: go on with a run that is there, or start."""
    resume = folder.exists() and any(folder.iterdir())
    make(folder, method=method, resume=resume).train(progress=False)


def train_and_kill(folder, method, moment, kind):
    """Returns whether a process that trains was killed before it ended."""
    # Ctrl-C within the fork itself would leave locks of Python's own modules as they are.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    child = os.fork()
    if child == 0:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            train(folder, method)
        except KeyboardInterrupt:
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    time.sleep(moment)
    os.kill(child, kind)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -kind), status
    return status == -kind


def main(name, folder, number):
    method, moments = METHODS[name], random.Random(name)
    torch.set_num_threads(1)
    run_module.draw_pictures = lambda *_, **__: None
    start = time.monotonic()
    train(folder / "whole", method)
    whole = time.monotonic() - start
    killed, tried, parts = 0, 0, folder / "parts"
    while killed < number:
        tried += 1
        assert tried < 100 * number, f"{killed} of {tried} runs were killed before they ended"
        kind = moments.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT])
        # In the start, around the first checkpoint, or anywhere.
        moment = moments.uniform(0, moments.choice([0.05, 0.25, 1]) * whole)
        was_killed = train_and_kill(parts, method, moment, kind)
        killed += was_killed
        # Of a run that has ended there would be nothing left to kill.
        if not was_killed or killed == number:
            train(parts, method)
            assert files(parts) == files(folder / "whole")
            shutil.rmtree(parts)
    print(killed)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
