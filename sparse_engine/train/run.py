"""Training run in its own folder: set up, train, save, resume."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer
from tqdm.auto import tqdm

from sparse_engine.nn import SparseRNN, SparseWeight
from sparse_engine.tasks import Task
from sparse_engine.topology import Measure, Rewiring, Static, Tracker
from sparse_engine.train.checkpoint import Checkpoint
from sparse_engine.train.folder import RunFolder
from sparse_engine.train.interruption import interruption
from sparse_engine.train.limits import check_size, within_memory
from sparse_engine.train.log import MetricsLog
from sparse_engine.train.pictures import draw_pictures

LESS = "a smaller learning rate or gain usually helps"

#: Function that makes the rewiring for a model and its optimizer.
MethodFactory = Callable[[nn.Module, Optimizer], Rewiring]


@dataclass(frozen=True)
class Settings:
    """Settings of a run beside its task and its rewiring method."""

    hidden: int = 128
    density: float = 0.05
    gain: float = 1.4
    steps: int = 6060
    learning_rate: float = 3e-3
    seed: int = 0
    evaluate_every: int = 60
    save_every: int = 600

    def __post_init__(self) -> None:
        for name in ("steps", "evaluate_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, found {getattr(self, name)}")
        if self.steps >= 2**32:
            raise ValueError(f"expected steps below 2^32, found {self.steps}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"expected seed in [0, 2^63), found {self.seed}")


@dataclass(frozen=True)
class Result:
    """Result of a run.

    Attributes:
        metric: the task's metric at the end.
        nnz: number of links of the model.
        seconds: time of this call of :meth:`Run.train`.
        peak_bytes: peak memory of the process.
        finished: whether all steps were taken; otherwise the run was interrupted.
    """

    metric: float
    nnz: int
    seconds: float
    peak_bytes: int
    finished: bool


class Run:
    """Training run of a sparse recurrent network on a task.

    The optimizer is Adam, with a learning rate that falls along half a cosine to zero and gradients
    clipped to [-1, 1] elementwise. The last step does not rewire, because new links would never be
    trained.

    Args:
        folder: folder for config.json, metrics.jsonl, topology.jsonl (the records of a
            :class:`Tracker`), the checkpoint and pictures.
        task: the task to learn.
        settings: sizes and schedule.
        method: function that makes the rewiring.
        description: description of the method, for config.json.
        measures: measures that add to topology.jsonl, such as
            :class:`sparse_engine.analysis.Balance`.
        resume: whether to resume from the folder's checkpoint.

    Raises:
        ValueError: a method other than :class:`Static` that would never rewire, or a network that
            does not fit into memory.
        FileExistsError: the folder has a run, and ``resume`` is False.
        BlockingIOError: another process trains in the folder.
        CheckpointError: no checkpoint to resume from, or one that is damaged or of another run.
    """

    def __init__(
        self,
        folder: Path,
        task: Task,
        settings: Settings,
        method: MethodFactory,
        *,
        description: dict[str, object],
        measures: Sequence[Measure] = (),
        resume: bool = False,
    ) -> None:
        self.folder, self.task, self.settings = folder, task, settings
        config = {"task": task.name, **asdict(settings), "rule": description}
        with within_memory():
            self.model = self._build()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate)
        self.rewiring = method(self.model, self.optimizer)
        self._check_method()
        self.tracker = Tracker(self.rewiring, measures=measures)
        self.step = 0
        # The folder comes last, so that invalid settings leave none behind.
        self._folder = RunFolder(folder, config)
        checkpoint = None
        if resume:
            checkpoint = self._folder.find()
        else:
            self._folder.begin()
        if checkpoint is None:
            self.save()
        else:
            checkpoint.restore(self.model, self.optimizer, self.rewiring)
            self.step = self._saved = checkpoint.step

    @property
    def nnz(self) -> int:
        """The number of links."""
        return sum(m.nnz for m in self.model.modules() if isinstance(m, SparseWeight))

    def train(self, *, progress: bool = True) -> Result:
        """Take all remaining steps; Ctrl-C saves the run and ends it after the current step.

        Raises:
            ValueError: a step takes more memory than there is.
            FloatingPointError: the loss or a weight became infinite or NaN.
            BlockingIOError: another process trains in the folder.
            CheckpointError: another process has continued the run.
            OSError: a file cannot be written, as on a full disk.
        """
        began = time.perf_counter()
        steps = self.settings.steps
        with self._folder.locked(), within_memory():
            self._folder.check_unchanged()
            try:
                self._train(progress)
                draw_pictures(self.folder, self.model)
            except OSError as error:
                if error.errno is not None:
                    error.strerror = (
                        f"{error.strerror}; the checkpoint of step {self._saved} is whole: mend "
                        "this, then go on with --resume"
                    )
                raise
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Result(
            metric=self.task.evaluate(self.model),
            nnz=self.nnz,
            seconds=time.perf_counter() - began,
            peak_bytes=peak * (1 if sys.platform == "darwin" else 1024),
            finished=self.step >= steps,
        )

    def _train(self, progress: bool) -> None:
        steps = self.settings.steps
        with (
            closing(MetricsLog(self.folder / "metrics.jsonl", steps=self.step)) as log,
            closing(MetricsLog(self.folder / "topology.jsonl", steps=self.step)) as changes,
            tqdm(initial=self.step, total=steps, unit="step", disable=not progress) as bar,
            interruption() as interrupted,
        ):
            self.tracker.sinks = [changes.write]
            while self.step < steps and not interrupted():
                self._take_step(log, bar)
            self.save()

    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            FloatingPointError: a weight is infinite or NaN; the previous checkpoint stays.
            BlockingIOError, CheckpointError, OSError: as in :meth:`train`.
        """
        for name, parameter in self.model.named_parameters():
            if self.step and not torch.isfinite(parameter).all():
                raise FloatingPointError(
                    f"expected finite weights, found {name} with others at step {self.step}; "
                    f"{LESS}, and the checkpoint of step {self._saved} stays"
                )
        with self._folder.locked():
            logs = self._folder.log_hashes(self.step)
            state = self.model, self.optimizer, self.rewiring
            config = self._folder.config
            self._folder.save(Checkpoint.of(self.step, *state, config=config, logs=logs))
        self._saved = self.step

    def _build(self) -> nn.Module:
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed)

        def recurrent(inputs: int) -> SparseRNN:
            check_size(settings.hidden, settings.density, self.task.positions)
            return SparseRNN(
                inputs,
                settings.hidden,
                density=settings.density,
                gain=settings.gain,
                generator=generator,
            )

        return self.task.build(recurrent, generator=generator)

    def _check_method(self) -> None:
        rewiring, steps = self.rewiring, self.settings.steps
        fraction = rewiring.fraction.at
        # The fraction of some methods falls to 0 during training.
        over = rewiring.density is None and fraction(rewiring.every) == 0 < fraction(0)
        if not isinstance(rewiring, Static) and (rewiring.every >= steps or over):
            raise ValueError(
                f"expected a rewiring before the last of {steps} steps, found none with every = "
                f"{rewiring.every}; take a smaller every, more steps or the method static"
            )

    def _take_step(self, log: MetricsLog, bar: tqdm) -> None:
        settings = self.settings
        share = self.step / settings.steps
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
        self.optimizer.zero_grad()
        loss = self.task.loss(self.model, self.step)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"expected a finite loss, found {loss.item()} at step {self.step}; {LESS}"
            )
        loss.backward()
        nn.utils.clip_grad_value_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        if self.step < settings.steps:
            self.rewiring.step()
        else:
            self.rewiring.skip()
        bar.update()
        if self.step % settings.evaluate_every == 0 or self.step == settings.steps:
            metric = self.task.evaluate(self.model)
            log.write({"step": self.step, "loss": loss.item(), "metric": metric, "nnz": self.nnz})
            bar.set_postfix(loss=f"{loss.item():.2e}", validation=f"{metric:.2e}")
        if self.step % settings.save_every == 0:
            self.save()
