"""Folders of runs that were written by hand."""

import json

from sparse_engine.lab.train import Config

STEPS = (10, 20, 30)


def write(folder, validation, test, *, seconds=None, task="digits", **settings):
    """A run of 30 steps with these accuracies."""
    config = Config.published(task, steps=30, **settings)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config.to_json()))
    entries = [
        {
            "step": step,
            "metric": v,
            "validation": {"accuracy": v},
            "test": {"accuracy": t},
            "nnz": 7,
        }
        for step, v, t in zip(STEPS, validation, test, strict=False)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in entries))
    if seconds is not None:
        result = {"seconds": seconds, "metric": 0, "best": {}, "last": {}, "nnz": 7}
        result |= {"peak_bytes": 0, "finished": True}
        (folder / "result.json").write_text(json.dumps(result))
