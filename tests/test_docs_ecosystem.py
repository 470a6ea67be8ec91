"""Code of the pages on other libraries and on the page of runs, which has to run."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
NEEDED = {
    "echo_state.md": "skorch",
    "hub.md": "huggingface_hub",
    "profiling.md": "torch",
    "watch.md": "torch",
}


@pytest.mark.parametrize("page", NEEDED)
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch):
    pytest.importorskip(NEEDED[page], reason=f"{NEEDED[page]} is not installed")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    names = {"__name__": "block"}
    for block in blocks:
        exec(compile(block, f"docs/{page}", "exec"), names)
    if page == "echo_state.md":
        assert names["model"].score(names["x"][1500:-5], names["x"][1505:]) > 0.9
