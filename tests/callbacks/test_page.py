"""The examples of docs/trainers.md run."""

import re
from pathlib import Path

import pytest

from sparse_engine.nn import SparseWeight

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trainers.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
LIBRARIES = ["lightning", "transformers", "accelerate", "skorch", "torch"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_example_runs(library, tmp_path, monkeypatch):
    pytest.importorskip(library)
    block = dict(zip(LIBRARIES, BLOCKS, strict=True))[library]
    assert f"import {library}" in block or f"from {library}" in block
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "block"}
    exec(compile(block, str(PAGE), "exec"), names)
    model = names.get("module") or names.get("model") or names["net"].module_
    weights = [each for each in model.modules() if isinstance(each, SparseWeight)]
    assert weights and all(each.topology_version >= 2 for each in weights)
