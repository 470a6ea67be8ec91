"""``sparse-engine wiring``: whether the wiring of a connectome matters."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro


@dataclass(frozen=True)
class Wiring:
    """Compares a connectome with nulls of its wiring.

    Attributes:
        connectome: file of the connectome.
        build: function ``build(connectome, seed)`` that returns a score, as ``file.py:name``.
        types: column of the table of neurons, for a null that keeps degrees by type.
        seeds: number of seeds.
        folder: where scores are kept; an interrupted comparison goes on from there.
        plot: write a picture to this PNG file.
    """

    connectome: Annotated[Path, tyro.conf.Positional]
    build: Annotated[str, tyro.conf.Positional]
    types: str | None = None
    seeds: int = 10
    folder: Path | None = None
    plot: Path | None = None

    def __call__(self) -> int:
        """Print a table of the differences."""
        from sparse_engine import connectome as c

        nulls = [*c.NULLS, *([] if self.types is None else [c.SameDegreesAndTypes(self.types)])]
        build, brain = _function(self.build), c.read(self.connectome)
        given: dict[str, Any] = {"seeds": range(self.seeds), "folder": self.folder}
        found = c.compare(build, brain, nulls=nulls, **given)
        print(found)
        if self.plot is not None:
            from sparse_engine.lab import plot

            with plot.picture(self.plot) as axes:
                plot.wiring(found, axes)
        return 0


def _function(name: str) -> Callable[..., float]:
    path, _, function = name.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path) if path else None
    if spec is None or spec.loader is None:
        raise ValueError(f"expected a function as file.py:name, found {name!r}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, function):
        raise ValueError(f"expected a function {function!r} in {path}, found none")
    found: Callable[..., float] = getattr(module, function)
    return found
