"""Training run in its own folder: set up, train, save, resume."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm.auto import tqdm

from sparse_engine.files import write_atomically
from sparse_engine.lab.networks.limits import REMEDY
from sparse_engine.lab.tasks import Step
from sparse_engine.lab.train.checkpoint import Checkpoint, unshare_memory
from sparse_engine.lab.train.config import Config
from sparse_engine.lab.train.folder import BEST, RunFolder
from sparse_engine.lab.train.log import MetricsLog, Scores
from sparse_engine.lab.train.online import Online
from sparse_engine.lab.train.pictures import draw_pictures
from sparse_engine.lab.train.process import interruption, useful_threads
from sparse_engine.lab.train.ranks import averaged_loss, count, on_any, on_first, rank
from sparse_engine.machine import memory_error_names
from sparse_engine.nn import SparseWeight
from sparse_engine.optim import SNTASGD
from sparse_engine.topology import Measure, Rewiring, Static, Tracker
from sparse_engine.topology.ranks import mean_

#: What an allocation that fails is for.
PURPOSE = f"a run ({REMEDY})"
LESS = "a smaller learning rate or gain usually helps"

#: Function that makes the rewiring for a model and its optimizer.
MethodFactory = Callable[[nn.Module, Optimizer], Rewiring]


@dataclass(frozen=True)
class Result:
    """Result of a run.

    Attributes:
        metric: the task's metric on the validation split at the end.
        best: the entry of metrics.jsonl with the best metric on the validation split, of those with
            the fewest links.
        last: the last entry of metrics.jsonl.
        nnz: number of links of the model.
        seconds: time of this call of :meth:`Run.train`.
        peak_bytes: peak memory of the process.
        finished: whether training came to its end; otherwise the run was interrupted.
    """

    metric: float
    best: dict
    last: dict
    nnz: int
    seconds: float
    peak_bytes: int
    finished: bool


class Evaluation(NamedTuple):
    """Entry for metrics.jsonl, the model as a file if it is the best, and whether to average."""

    entry: dict
    best_model: bytes | None
    averaging_begins: bool


class Run:
    """Training run of a model on a task.

    A step takes the task's loss on the step's batch, clips gradients, and lets the optimizer, the
    schedule of the learning rate and the rewiring method each take a step. The last step does not
    rewire, because new links would never be trained. An evaluation comes before the rewiring of the
    same step. With :class:`~sparse_engine.optim.SNTASGD` the averaged parameters are evaluated, and
    the step at which averaging begins does not rewire. With ``online`` a step is that of a
    sequence, and a learner of :mod:`sparse_engine.online` gives its gradients.

    All randomness follows from the seed and the step: torch's global generator is seeded anew
    before each step, and put back as it was after training. A model of fewer than 32,768 parameters
    trains with one thread.

    Args:
        folder: folder for config.json, metrics.jsonl, topology.jsonl (the records of a
            :class:`Tracker`), the checkpoint, best.safetensors (the model at the evaluation with
            the best validation metric) and pictures.
        config: the settings.
        method: function that makes the rewiring, for a method of your own; by default the method
            that the settings name.
        measures: measures that add to topology.jsonl, such as
            :class:`sparse_engine.analysis.Balance`.
        tensorboard: whether to write the numbers of metrics.jsonl and topology.jsonl for
            TensorBoard, too.
        observers: functions that are called with every entry of metrics.jsonl; what one raises
            ends the training.
        resume: whether to resume from the folder's checkpoint.

    Raises:
        ValueError: a setting out of range, a method that would never rewire, no room in memory, or
            batches that the ranks cannot share equally.
        FileExistsError: the folder has a run, and ``resume`` is False.
        BlockingIOError: another process trains in the folder.
        CheckpointError: no checkpoint to resume from, or one that is damaged or of another run.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        *,
        method: MethodFactory | None = None,
        measures: Sequence[Measure] = (),
        tensorboard: bool = False,
        observers: Sequence[Callable[[dict], object]] = (),
        resume: bool = False,
    ) -> None:
        self.folder, self.config, self.task = folder, config, config.task
        self._tensorboard, self._observers = tensorboard, observers
        config.check()
        self.task.check_ranks(count())
        self.task.prepare()
        generator = torch.Generator().manual_seed(config.seed)
        with memory_error_names(PURPOSE):
            self.model = self.task.build(config.network, generator=generator)
        self.optimizer = config.optimization.make_optimizer(self.model.parameters())
        steps, density, seed = config.steps, config.network.density, config.seed
        chosen = method or partial(config.method.make, steps=steps, density=density, seed=seed)
        self.rewiring = chosen(self.model, self.optimizer)
        self._check_method()
        self._online = config.online and Online(config.online, self.task, self.model, self.rewiring)
        self.tracker = Tracker(self.rewiring, measures=measures)
        self.step = 0
        self.memory: dict[str, Tensor] = {}
        clips = [getattr(module, "clip_", None) for module in self.model.modules()]
        self._constraints = [clip for clip in clips if callable(clip)]
        # The folder comes last, so that invalid settings leave none behind.
        self._folder = RunFolder(folder, config.to_json())
        checkpoint = on_first(self._folder.find) if resume else None
        if checkpoint is not None:
            checkpoint.restore(self.model, self.optimizer, self.rewiring)
            self.step = self._saved = checkpoint.step
            self.memory = dict(checkpoint.memory)
            if self._online:
                self._online.learner.load_state_dict(checkpoint.learner)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.learning_rate = config.optimization.make_scheduler(
            self.optimizer, steps=config.steps, step=self.step
        )
        if checkpoint is not None:
            self.learning_rate.load_state_dict(checkpoint.scheduler, rates)
        if not resume:
            on_first(self._folder.begin)
        if checkpoint is None:
            self.save()
        logged = folder / "metrics.jsonl", self.task.higher_is_better
        self.scores = on_first(lambda: Scores(*logged, steps=self.step))
        self._loss = self._online or averaged_loss(self.task, self.model)

    @property
    def nnz(self) -> int:
        """The number of links."""
        return sum(m.nnz for m in self.model.modules() if isinstance(m, SparseWeight))

    @property
    def finished(self) -> bool:
        """Whether all steps are taken, or the patience for a better metric is over."""
        return self.config.is_over(self.step, self.scores)

    def train(self, *, progress: bool = True, pictures: bool = True) -> Result:
        """Take all remaining steps; Ctrl-C saves the run and ends it after the current step.

        Args:
            progress: whether to show a progress bar.
            pictures: whether to draw curve.png, adjacency.png and balance.png at the end.

        Raises:
            MemoryError: a step takes more memory than there is.
            FloatingPointError: the loss or a weight became infinite or NaN.
            BlockingIOError: another process trains in the folder.
            CheckpointError: another process has continued the run.
            OSError: a file cannot be written, as on a full disk.
        """
        began = time.perf_counter()
        with (
            ExitStack() as lock,
            memory_error_names(PURPOSE),
            useful_threads(self.model),
            torch.random.fork_rng(devices=[]),
        ):
            on_first(lambda: lock.enter_context(self._folder.locked()))
            on_first(self._folder.check_unchanged)
            try:
                self._train(progress)
                if pictures and rank() == 0:
                    draw_pictures(self.folder, self.model, self.task)
            except OSError as error:
                if error.errno is not None:
                    error.strerror = (
                        f"{error.strerror}; the checkpoint of step {self._saved} is whole: mend "
                        "this, then go on with --resume"
                    )
                raise
            last = self.scores.last
            if last.get("step") != self.step:
                with self._averaged():
                    last = self._entry()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Result(
            metric=last["metric"],
            best=self.scores.best or last,
            last=last,
            nnz=self.nnz,
            seconds=time.perf_counter() - began,
            peak_bytes=peak * (1 if sys.platform == "darwin" else 1024),
            finished=self.finished,
        )

    def _train(self, progress: bool) -> None:
        total, hidden = self.config.steps, not progress or rank() > 0
        with (
            self._logs(),
            tqdm(initial=self.step, total=total, unit="step", disable=hidden) as bar,
            interruption() as interrupted,
        ):
            while not self.finished and not on_any(interrupted()):
                self._take_step(bar)
            self.save()

    def save(self) -> None:
        """Write the checkpoint, unless a weight is infinite or NaN: then the previous one stays."""
        for name, parameter in self.model.named_parameters():
            if self.step and not torch.isfinite(parameter).all():
                raise FloatingPointError(
                    f"expected finite weights, found {name} with others at step {self.step}; "
                    f"{LESS}, and the checkpoint of step {self._saved} stays"
                )
        on_first(self._save)
        self._saved = self.step

    def _save(self) -> None:
        checkpoint = Checkpoint.of(
            self.step,
            self.model,
            self.optimizer,
            self.rewiring,
            config=self._folder.config,
            memory=self.memory,
            scheduler=self.learning_rate.state_dict(),
            learner=self._online.learner.state_dict() if self._online else {},
        )
        with self._folder.locked():
            self._folder.save(checkpoint)

    def _check_method(self) -> None:
        rewiring, steps = self.rewiring, self.config.steps
        fraction = rewiring.fractions.at
        # The fraction of some methods falls to 0 during training.
        over = rewiring.densities is None and fraction(rewiring.every) == 0 < fraction(0)
        if not isinstance(rewiring, Static) and (rewiring.every >= steps or over):
            raise ValueError(
                f"expected a rewiring before the last of {steps} steps, found none with every = "
                f"{rewiring.every}; take a smaller every, more steps or the method static"
            )

    @contextmanager
    def _logs(self) -> Iterator[None]:
        """Let evaluations and rewirings be logged within the block, on the first rank alone."""
        self._sinks, self.tracker.sinks = [], []
        if rank() > 0:
            yield
            return
        with (
            closing(MetricsLog(self.folder / "metrics.jsonl", steps=self.step)) as log,
            closing(MetricsLog(self.folder / "topology.jsonl", steps=self.step)) as changes,
            self._board() as board,
        ):
            self.tracker.sinks = [changes.write, *board]
            self._sinks = [log.write, *board, *self._observers]
            yield

    @contextmanager
    def _board(self) -> Iterator[list[Callable[[dict], None]]]:
        if not self._tensorboard:
            yield []
            return
        from sparse_engine.callbacks.tensorboard import TensorBoard

        with closing(TensorBoard(self.folder / "tensorboard")) as board:
            yield [board.write]

    def _take_step(self, bar: tqdm) -> None:
        config = self.config
        step = Step(self.step, config.seed, self.memory, rank=rank(), ranks=count())
        # Not torch.manual_seed: without a GPU it remembers every call for when there will be one.
        torch.default_generator.manual_seed(step.generator().initial_seed())
        self.model.train()
        self.optimizer.zero_grad()
        loss = self._loss(step)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"expected a finite loss, found {loss.item()} at step {self.step}; {LESS}"
            )
        if self._online:
            self._online.learner.backward(loss)
        else:
            loss.backward()
        config.optimization.clip(self.model)
        self._descend(step.rate)
        self.step += 1
        if self.step % config.evaluate_every == 0 or self.step == config.steps:
            evaluation = self._evaluate(mean_(loss.detach()).item())
            self._rewire(hold=evaluation.averaging_begins)
            # Files come last, so that one that cannot be written leaves the state of a whole step.
            self._record(evaluation, bar)
        else:
            self._rewire(hold=False)
        bar.update()
        if self.step % config.save_every == 0:
            self.save()

    def _descend(self, rate: float) -> None:
        groups = self.optimizer.param_groups
        rates = [group["lr"] for group in groups]
        for group in groups:
            group["lr"] *= rate
        self.optimizer.step()
        for group, before in zip(groups, rates, strict=True):
            group["lr"] = before
        for constrain in self._constraints:
            constrain()
        self.learning_rate.step()

    def _rewire(self, *, hold: bool) -> None:
        if self.finished:
            self.rewiring.skip()
            return
        before = self.nnz
        if self.rewiring.step(hold=hold) and self.nnz != before and not self._online:
            self._loss = averaged_loss(self.task, self.model)

    def _evaluate(self, loss: float) -> Evaluation:
        """Evaluate the model, and show the metric to the schedule and the optimizer."""
        with self._averaged():
            entry = {**self._entry(), "loss": loss}
            self.scores.add(entry)
            best = (
                save_tensors(unshare_memory(self.model.state_dict()))
                if self.scores.since_best == 0
                else None
            )
        error = -entry["metric"] if self.task.higher_is_better else entry["metric"]
        self.learning_rate.observe(error)
        begins = isinstance(self.optimizer, SNTASGD) and self.optimizer.observe(error)
        return Evaluation(entry, best, begins)

    def _record(self, evaluation: Evaluation, bar: tqdm) -> None:
        entry = evaluation.entry
        for sink in self._sinks:
            sink(entry)
        if evaluation.best_model is not None and rank() == 0:
            write_atomically(self.folder / BEST, evaluation.best_model)
        bar.set_postfix(
            {"loss": f"{entry['loss']:.2e}", self.task.metric: f"{entry['metric']:.4g}"}
        )

    def _averaged(self) -> AbstractContextManager:
        optimizer = self.optimizer
        return optimizer.averaged() if isinstance(optimizer, SNTASGD) else nullcontext()

    def _entry(self) -> dict:
        return on_first(self._evaluate_splits)

    def _evaluate_splits(self) -> dict:
        self.model.eval()
        splits = {name: self.task.evaluate(self.model, name) for name in self.task.splits}
        metric = splits[self.task.splits[0]][self.task.metric]
        return {"step": self.step, "metric": metric, **splits, "nnz": self.nnz}
