"""Evaluations of a run: the last and the best so far."""

from __future__ import annotations

from pathlib import Path

from sparse_engine.lab.train.log import read_metrics


class Scores:
    """Entries of metrics.jsonl, of which one has the best validation metric.

    Args:
        path: path of metrics.jsonl.
        higher_is_better: whether a greater metric is a better one.
        steps: number of steps taken; later entries are left out.
    """

    def __init__(self, path: Path, higher_is_better: bool, *, steps: int) -> None:
        self._sign = -1 if higher_is_better else 1
        self.best: dict = {}
        self.last: dict = {}
        self.since_best = 0
        for entry in read_metrics(path):
            if entry["step"] <= steps:
                self.add(entry)

    def add(self, entry: dict) -> None:
        """Add an evaluation; ``since_best`` counts those after the best one."""
        self.last = entry
        self.since_best += 1
        # A metric of NaN is never the best.
        if not self.best or self._sign * entry["metric"] < self._sign * self.best["metric"]:
            self.best, self.since_best = entry, 0
