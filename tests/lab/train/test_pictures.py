"""The pictures that a run leaves behind."""

import sys

import pytest

from sparse_engine.lab.train.pictures import draw_pictures
from sparse_engine.topology import Static

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("steps", [1, 20])
def test_a_run_draws_itself(tmp_path, start, steps):
    run = start(tmp_path, steps=steps, method=Static)
    run.train(progress=False)
    draw_pictures(tmp_path, run.model, run.task)
    for name in ("curve.png", "adjacency.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)


def test_without_matplotlib_says_how_to_get_it(tmp_path, start, monkeypatch, capsys):
    run = start(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [name for name in sys.modules if name.startswith("sparse_engine.lab.plot")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("sparse_engine.lab.plot", raising=False)
    draw_pictures(tmp_path, run.model, run.task)
    assert "no pictures" in (told := capsys.readouterr().out)
    assert "pip install 'sparse_engine[plot]'" in told
    assert not list(tmp_path.glob("*.png"))
