"""Starts a run, kills it at random moments and goes on with it, over and over.

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
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))

from conftest import make
from methods import OPTIONS, make_method

from sparse_engine.lab.train import run as run_module

STEPS = 20
METHODS = {method.__name__: make_method(method, steps=STEPS, every=3) for method in OPTIONS}


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
