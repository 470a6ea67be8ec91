"""The page on feed-forward networks: its blocks run, and its commands exist."""

import re
from pathlib import Path

from sparse_engine.lab.experiments import EXPERIMENTS
from sparse_engine.lab.tasks import TASKS
from sparse_engine.nn import SparseLinear

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "feed_forward.md").read_text()


def test_the_blocks_run_one_after_the_other():
    names = {"__name__": "block"}
    first, machine, strength = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(first, "docs/feed_forward.md", "exec"), names)
    assert names["rewiring"].steps == 100
    # Of 20 * 1010 links for the output layer, only 10,000 have a place.
    sparse = [isinstance(layer, SparseLinear) for layer in names["model"].linear]
    assert sparse == [True, True, False]
    exec(compile(machine, "docs/feed_forward.md", "exec"), names)
    assert names["rbm"].weight.nnz == 12_240 and 0 < names["error"] < 1
    exec(compile(strength, "docs/feed_forward.md", "exec"), names)
    assert names["strength"].shape == (500,) and len(names["selected"]) == 20


def test_its_commands_exist():
    named = set(re.findall(r"sparse-engine reproduce ([\w-]+)", PAGE))
    named |= {f"set-mlp-{rest}" for rest in re.findall(r"`-([\w-]+)`", PAGE)}
    own = {name for name in EXPERIMENTS if name.startswith("set-")}
    assert named == own | {"quick-selection", "synapses", "topology-distance"}
    assert set(re.findall(r"sparse-engine train ([\w-]+)", PAGE)) <= TASKS.keys()
