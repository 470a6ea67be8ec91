"""Jobs and data that workers can import."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

from sparse_engine.lab.tasks import Step, Supervised
from sparse_engine.lab.train import Result


@dataclass(frozen=True)
class Quick:
    """A job whose metric is the number of threads, or that raises an error."""

    name: str
    error: Exception | None = None
    result_there: bool = False

    def result(self):
        return self.done(-1) if self.result_there else None

    def done(self, metric):
        return Result(metric, {}, {}, 0, 0.0, os.getpid(), True)

    def __call__(self):
        if self.error is not None:
            raise self.error
        return self.done(torch.get_num_threads())


@dataclass(frozen=True)
class Endless(Quick):
    """A job that does not end by itself; its name is that of a file for the number of its
    process."""

    def __call__(self):
        Path(self.name).write_text(str(os.getpid()))
        time.sleep(600)


@dataclass(frozen=True)
class Killed(Quick):
    """A job whose process the system ends."""

    def __call__(self):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class KilledOnce(Quick):
    """A job whose process the system ends at the first attempt; its name is that of a file."""

    def __call__(self):
        if not Path(self.name).exists():
            Path(self.name).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__()


@dataclass(frozen=True)
class Batches(Dataset):
    """Batches of a task, and what a network says to them, computed by whoever asks."""

    task: Supervised
    model: nn.Module

    def __len__(self):
        return 6

    @torch.no_grad()
    def __getitem__(self, number):
        examples = self.task.batch(Step(number))
        return examples.inputs, examples.targets, self.task.outputs(self.model, examples)
