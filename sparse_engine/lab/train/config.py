"""Settings of a run: plain data, to and from JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from sparse_engine.lab.networks import Network
from sparse_engine.lab.tasks import TASKS, Task
from sparse_engine.lab.train.methods import Method
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

    def check(self) -> None:
        """Raise ValueError for a number out of range, or a network that the task does not take."""
        self.method.check()
        self.optimization.check()
        for name in ("steps", "evaluate_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, found {getattr(self, name)}")
        if self.steps >= 2**32:
            raise ValueError(f"expected steps below 2^32, found {self.steps}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"expected seed in [0, 2^63), found {self.seed}")
        if self.patience < 0:
            raise ValueError(f"expected patience of at least 0, found {self.patience}")
        if not isinstance(self.network, self.task.network):
            raise ValueError(
                f"expected a {self.task.network.__name__} for the task {self.task.name}, found "
                f"{type(self.network).__name__}"
            )

    @classmethod
    def of(cls, task: Task, **settings: Any) -> Config:
        """Return the settings of a task's published run, with some of them replaced.

        Args:
            task: the task.
            **settings: other values by their names, such as ``cell``, ``density``, ``method``,
                ``learning_rate`` or ``steps``.

        Raises:
            ValueError: a name that there is not.
        """
        config = cls(task, task.network(), Method(final_density=Network().density))
        return config.replaced(**{**task.recipe, **settings})

    @classmethod
    def published(cls, name: str, **settings: Any) -> Config:
        """Return :meth:`of` for a task of the registry ``TASKS`` by its name.

        Raises:
            ValueError: a name that there is not.
        """
        if name not in TASKS:
            raise ValueError(f"expected a task of {sorted(TASKS)}, found {name!r}")
        return cls.of(TASKS[name](), **settings)

    def replaced(self, **settings: Any) -> Config:
        """Return a copy with some settings replaced, by their names in whichever part they are.

        The name ``method`` stands for the name of the rewiring method.

        Raises:
            ValueError: a name that there is not.
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
        """Return the settings that :meth:`to_json` gave, or those of a run before version 3.

        Raises:
            ValueError: entries that no settings have, or parts that are missing.
        """
        record = upgraded(record)
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


def upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in their present form: old ones get the defaults of what was added since.

    Settings of runs before version 3, which were flat, are nested.
    """
    if not isinstance(record.get("task"), str) or record["task"] not in TASKS:
        return _completed(record)
    old = dict(record)
    method = dict(old.pop("rule", {}))
    config = Config.published(old.pop("task"), cell="rnn", input_std=1.0)
    known = {name: old.pop(name) for name in ("hidden", "density", "gain") if name in old}
    given = {"method" if name == "name" else name: value for name, value in method.items()}
    return config.replaced(**known, **given, **old).to_json()


def _completed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with the defaults of those that they lack."""
    task = record.get("task")
    kind = TASKS.get(task.get("name", "")) if isinstance(task, Mapping) else None
    if kind is None:
        return dict(record)
    defaults = Config(kind(), kind.network()).to_json()
    parts = {part: record[part] for part in PARTS if isinstance(record.get(part), Mapping)}
    return {**record, **{part: {**defaults[part], **given} for part, given in parts.items()}}
