"""Settings of a run: plain data, to and from JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from sparse_engine.lab.networks import Network
from sparse_engine.lab.tasks import TASKS, Task
from sparse_engine.lab.train.log import Scores
from sparse_engine.lab.train.methods import Method
from sparse_engine.lab.train.online import LEARNERS
from sparse_engine.lab.train.optimization import Optimization

#: Parts of the settings, each a dataclass with names of its own.
PARTS = ("task", "network", "method", "optimization")


@dataclass(frozen=True)
class Config:
    """Settings of a run: its task, network, method and optimizer, and how long it trains.

    The settings are plain data. :meth:`to_json` and :meth:`from_json` convert them, and
    :meth:`replaced` changes some by their names alone, wherever they are. A :class:`Run` checks
    their values.

    Example:
        >>> config = Config.published("mackey-glass").replaced(cell="lstm", hidden=64, seed=1)
        >>> Run(Path("runs/lstm"), config).train()
    """

    task: Annotated[Task, tyro.conf.arg(name="")]
    network: Annotated[Network, tyro.conf.arg(name="")]
    method: Annotated[Method, tyro.conf.arg(name="")] = field(default_factory=Method)
    optimization: Annotated[Optimization, tyro.conf.arg(name="")] = field(
        default_factory=Optimization
    )
    steps: int = 6060
    """Training steps in all."""
    seed: int = 0
    """Seed of the wiring, the values, the order of batches and the rewiring."""
    evaluate_every: int = 60
    """Steps from one evaluation to the next."""
    save_every: int = 600
    """Steps from one checkpoint to the next."""
    patience: int = 0
    """Evaluations without a better validation metric after which training ends; 0 for no end."""
    online: Literal[tuple(LEARNERS)] | None = None  # type: ignore[valid-type]
    """Learner of sparse_engine.online that trains at each step of a sequence, and not at its end;
    steps are then those of sequences."""

    def check(self) -> None:
        """Raise ValueError for a number out of range, or a network that the task does not take."""
        least = {"steps": 1, "evaluate_every": 1, "save_every": 1, "patience": 0}
        for name, bound in least.items():
            if (found := getattr(self, name)) < bound:
                raise ValueError(f"expected {name} of at least {bound}, found {found}")
        for name, bits in (("steps", 32), ("seed", 63)):
            if not 0 <= (found := getattr(self, name)) < 2**bits:
                raise ValueError(f"expected {name} in [0, 2^{bits}), found {found}")
        if self.online is not None and self.online not in LEARNERS:
            raise ValueError(f"expected online of {[*LEARNERS]}, found {self.online!r}")
        if not isinstance(self.network, self.task.network):
            raise ValueError(
                f"expected a {self.task.network.__name__} for the task {self.task.name}, found "
                f"{type(self.network).__name__}"
            )

    def is_over(self, step: int, scores: Scores) -> bool:
        """Whether all steps are taken, or the patience for a better metric is over."""
        return step >= self.steps or 0 < self.patience <= scores.since_best

    @classmethod
    def of(cls, task: Task, **settings: Any) -> Config:
        """Return the settings of a task's published run, with some replaced by :meth:`replaced`."""
        config = cls(task, task.network(), Method(final_density=Network().density))
        evaluations = {"evaluate_every": task.recipe.get("every", config.evaluate_every)}
        return config.replaced(**{**evaluations, **task.recipe, **settings})

    @classmethod
    def published(cls, name: str, **settings: Any) -> Config:
        """Return :meth:`of` for a task of the registry ``TASKS`` by its name."""
        if name not in TASKS:
            raise ValueError(f"expected a task of {sorted(TASKS)}, found {name!r}")
        return cls.of(TASKS[name](), **settings)

    def replaced(self, **settings: Any) -> Config:
        """Return a copy with some settings replaced, by their names in whichever part they are.

        The name ``method`` stands for the name of the rewiring method. A ValueError names settings
        that there are not.
        """
        changed: dict[str, Any] = {}
        for part in PARTS:
            names = {field.name for field in fields(getattr(self, part))} - {"name"}
            found = {name: settings.pop(name) for name in names & settings.keys()}
            if part == "method" and "method" in settings:
                found["name"] = settings.pop("method")
            if found:
                changed[part] = replace(getattr(self, part), **found)
        own = {field.name for field in fields(self)} - set(PARTS)
        if foreign := settings.keys() - own:
            raise ValueError(
                f"expected settings of a run of {self.task.name}, found "
                f"{', '.join(sorted(foreign))}"
            )
        return replace(self, **changed, **settings)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as nested dictionaries of numbers, strings and flags."""
        record = {part: asdict(getattr(self, part)) for part in PARTS}
        record["task"] = {"name": self.task.name, **record["task"]}
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in PARTS}
        return json.loads(json.dumps({**record, **rest}, default=str))

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Config:
        """Return the settings that :meth:`to_json` gave, or raise ValueError for others."""
        record = dict(record)
        try:
            parts = {part: dict(record.pop(part)) for part in PARTS}
            name = parts["task"].pop("name")
            if name not in TASKS:
                raise ValueError(f"expected a task of {sorted(TASKS)}, found {name!r}")
            if isinstance(parts["task"].get("data"), str):
                parts["task"]["data"] = Path(parts["task"]["data"])
            kind = TASKS[name]
            return cls(
                kind(**parts["task"]),
                kind.network(**parts["network"]),
                Method(**parts["method"]),
                Optimization(**parts["optimization"]),
                **record,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"expected the settings of a run, found them wrong at: {error}"
            ) from error


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the innermost entries of nested settings, with names such as ``network.hidden``."""
    leaves: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            leaves |= flattened(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves
