"""Curves of a run, from the entries of metrics.jsonl and topology.jsonl."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sparse_engine.lab.train.config import flattened
from sparse_engine.lab.watch.folders import read

#: Most bytes that are read of a log, from its end, and of a JSON file.
MOST_BYTES = 64 << 20
MOST_SETTINGS = 1 << 20
#: Most points of a curve, most curves of a picture, most characters of a name.
MOST_POINTS, MOST_CURVES, MOST_NAME = 1000, 24, 200

#: Steps and values, of which one that is no number is None.
Curve = tuple[list[int], list[float | None]]

#: Entries of topology.jsonl that are drawn, by picture.
TOPOLOGY = {
    "density": ("density",),
    "turnover": ("turnover", "survival", "first_survival", "exploration"),
    "balance": ("pooled", "class_mean", "triad_level"),
}


def history(folder: Path) -> dict[str, Any]:
    """Return what the page shows of a run beside its wiring, ready for JSON.

    Returns:
        ``settings`` by name, ``step``, ``steps`` (or None), ``finished``, ``unreadable`` (the
        number of lines that are no entries), and ``pictures``: curves by name, by picture.
    """
    metrics, unreadable = _entries(folder, "metrics.jsonl")
    topology, more = _entries(folder, "topology.jsonl")
    settings = _settings(_json(folder, "config.json"))
    steps, result = settings.get("steps"), _json(folder, "result.json")
    pictures = {"loss": _curves(metrics, _losses), "metric": _curves(metrics, _metrics)}
    for name, quantities in TOPOLOGY.items():
        pictures[name] = _curves(topology, partial(_of_weight, quantities=quantities))
    return {
        "settings": settings,
        "step": max((entry["step"] for entry in metrics + topology), default=0),
        "steps": steps if isinstance(steps, int) else None,
        "finished": isinstance(result, dict) and result.get("finished") is True,
        "unreadable": unreadable + more,
        "pictures": pictures,
    }


def _entries(folder: Path, name: str) -> tuple[list[dict[str, Any]], int]:
    """Return the entries of a log, and the number of lines that are none.

    The last line may be under way, and the first one cut; neither counts.
    """
    lines = (read(folder, name, most=MOST_BYTES) or b"").splitlines()
    entries, unreadable = [], 0
    for number, line in enumerate(lines):
        entry = _parsed(line)
        if isinstance(entry, dict) and _is_step(entry.get("step")):
            entries.append(entry)
        elif 0 < number < len(lines) - 1:
            unreadable += 1
    return entries, unreadable


def _json(folder: Path, name: str) -> object:
    return _parsed(read(folder, name, most=MOST_SETTINGS) or b"")


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_step(step: object) -> bool:
    # JavaScript has greater ones inexactly.
    return isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**53


def _number(value: object) -> float | None:
    """Return a finite number, or None: JSON has neither nan nor infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _settings(config: object) -> dict[str, object]:
    """Return the names and values of nested settings: numbers, truth values or texts."""
    if not isinstance(config, dict):
        return {}
    settings: dict[str, object] = {}
    for name, value in list(flattened(config).items())[:MOST_NAME]:
        is_exact = isinstance(value, int) and abs(value) < 2**53
        shown = value if is_exact else _number(value)
        settings[name[:MOST_NAME]] = str(value)[:MOST_NAME] if shown is None else shown
    return settings


Points = Iterator[tuple[str, object]]


def _losses(entry: dict[str, Any]) -> Points:
    yield "training", entry.get("loss")
    for split, measures in entry.items():
        if isinstance(measures, dict) and "loss" in measures:
            yield split, measures["loss"]


def _metrics(entry: dict[str, Any]) -> Points:
    for split, measures in entry.items():
        for name, value in measures.items() if isinstance(measures, dict) else ():
            if name != "loss":
                yield f"{split} {name}", value


def _of_weight(entry: dict[str, Any], quantities: tuple[str, ...]) -> Points:
    weight = entry.get("weight")
    for quantity in quantities:
        if quantity in entry:
            yield f"{quantity} {weight}" if len(quantities) > 1 else str(weight), entry[quantity]


def _curves(
    entries: list[dict[str, Any]], points: Callable[[dict[str, Any]], Points]
) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for entry in entries:
        for name, value in points(entry):
            name = name[:MOST_NAME]
            if name not in curves and (len(curves) >= MOST_CURVES or value is None):
                continue
            steps, values = curves.setdefault(name, ([], []))
            steps.append(entry["step"])
            values.append(_number(value))
    return {name: _thinned(curve) for name, curve in curves.items()}


def _thinned(curve: Curve) -> Curve:
    """Return at most :data:`MOST_POINTS` points of a curve, the last one among them."""
    steps, values = curve
    stride = -(-len(steps) // MOST_POINTS)
    first = (len(steps) - 1) % stride
    return steps[first::stride], values[first::stride]
