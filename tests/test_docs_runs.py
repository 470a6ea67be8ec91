"""The page on runs: its blocks and commands run, with shorter runs in this process."""

import re
from pathlib import Path

import pytest

from sparse_engine.lab.cli import main

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "runs.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\$ sparse-engine (.*)$", PAGE, re.MULTILINE)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    def run_all(jobs, **_):
        for job in jobs:
            yield job, job.result() or job()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sparse_engine.lab.train.run.draw_pictures", lambda *_, **__: None)
    for module in ("sparse_engine.lab.train", "sparse_engine.lab.cli.sweep"):
        monkeypatch.setattr(f"{module}.run_all", run_all)


def test_the_blocks_run():
    names = {"__name__": "__main__"}
    for block in BLOCKS:
        exec(compile(block, "docs/runs.md", "exec"), names)
    assert names["mine"].finished
    assert names["test"].n == 2 and len(names["compared"].groups) == 4
    assert Path("compare.png").is_file()
    assert {path.name for path in Path("runs/gru").iterdir()} <= set(
        re.findall(r"`([\w.]+)`", PAGE)
    ) | {path.name for path in Path("runs/gru").glob("checkpoint-*")}


def test_the_commands_run(capsys):
    sweep, compare = (command.split() for command in COMMANDS)
    assert main([*sweep, "--steps", "60", "--every", "20", "--hidden", "8"]) == 0
    capsys.readouterr()
    assert main(compare) == 0
    (shown,) = re.findall(r"^```\n(group .*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    now, then = (
        [line.split()[0] for line in t.split("\n\n")[0].splitlines()]
        for t in (capsys.readouterr().out, shown)
    )
    assert now == then
