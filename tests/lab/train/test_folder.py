"""The folder of a run: kills at any moment, two processes, full disks, edited settings."""

import errno
import json
import os
import resource
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from fresh_process import run_script
from torch import nn

from sparse_engine.lab.train import Checkpoint, CheckpointError, read_metrics
from sparse_engine.nn import SparseLinear
from sparse_engine.topology import Static

#: What a kill before the first checkpoint may leave.
LEFTOVERS = [
    [".checkpoint-00000000.safetensors.partial"],
    ["checkpoint-00000000.safetensors"],
    ["checkpoint-00000000.safetensors", ".checkpoint.json.partial"],
    ["config.json"],
    [".config.json.partial"],
    ["config.json", "checkpoint-00000000.safetensors", ".checkpoint.json.partial"],
]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("names", LEFTOVERS, ids=" ".join)
def test_a_start_that_was_killed_starts_and_resumes(tmp_path, start, whole, names, resume):
    folder = tmp_path / "run"
    start(tmp_path / "new")
    folder.mkdir()
    for name in names:
        found = tmp_path / "new" / name
        (folder / name).write_bytes(found.read_bytes() if found.exists() else b"half")
    run = start(folder, resume=resume)
    assert run.step == 0
    run.train(progress=False)
    assert files(folder) == whole


def test_a_start_takes_over_no_file_of_the_user(tmp_path, start):
    for name, content in [
        ("config.json", b'{"task": "mine"}'),
        ("config.json", b"not JSON"),
        ("notes.txt", b""),
        ("checkpoint-00000005.safetensors", b""),
        ("metrics.jsonl", b""),
        (".notes.partial", b""),
    ]:
        folder = tmp_path / f"with {name}"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        with pytest.raises(FileExistsError, match=r"expected a new or empty folder"):
            start(folder)
        with pytest.raises(CheckpointError, match=r"found no checkpoint\.json"):
            start(folder, resume=True)
        assert files(folder) == {name: content}


IN_USE = """
import pathlib, sys
from conftest import make
make(pathlib.Path(sys.argv[1]), resume=True).train(progress=False)
"""


def test_two_processes_do_not_train_in_one_folder(tmp_path, start, whole):
    found = []

    def meanwhile(step):
        if step == 7:
            done = run_script(IN_USE, str(tmp_path / "run"), cwd=Path(__file__).parent)
            found.append(done.stderr)
            with pytest.raises(BlockingIOError, match="in use; wait for the other"):
                start(tmp_path / "run", resume=True)

    start(tmp_path / "run", at_step=meanwhile).train(progress=False)
    assert "BlockingIOError: expected a folder that no other process trains in" in found[0]
    assert files(tmp_path / "run") == whole


def test_a_run_that_another_has_gone_on_with_is_left_alone(tmp_path, start, whole):
    folder = tmp_path / "run"
    late = start(folder)
    start(folder, resume=True).train(progress=False)
    for act in (late.save, lambda: late.train(progress=False)):
        with pytest.raises(CheckpointError, match="as this run left it, found another"):
            act()
    assert files(folder) == whole


@contextmanager
def files_of_at_most(size):
    """Make a write beyond so many bytes fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 100, 300, 900, 3000])
def test_a_write_that_fails_is_one_line_and_loses_nothing(tmp_path, start, whole, size):
    """The first tensor file, a log, the record or a later tensor file fails."""
    folder = tmp_path / "run"
    with files_of_at_most(size), pytest.raises(OSError, match=os.strerror(errno.EFBIG)) as failed:
        start(folder).train(progress=False)
    message, begun = str(failed.value), (folder / "checkpoint.json").exists()
    assert "\n" not in message and str(folder) in message
    assert begun == ("is whole: mend this, then go on with --resume" in message)
    assert not list(folder.glob(".*"))
    start(folder, resume=begun).train(progress=False)
    assert files(folder) == whole


@pytest.mark.parametrize("more", [0, 50])
def test_a_log_that_cannot_grow_loses_nothing(tmp_path, start, whole, more):
    """Then the run can go on in the same process, too."""
    folder = tmp_path / "run"
    run = start(folder)

    def fill(step):
        if step == 7:
            size = (folder / "metrics.jsonl").stat().st_size + more
            stack.enter_context(files_of_at_most(size))

    object.__setattr__(run.task, "at_step", fill)
    with ExitStack() as stack, pytest.raises(OSError, match=r"step 5 is whole.*\.jsonl"):
        run.train(progress=False)
    object.__setattr__(run.task, "at_step", lambda step: None)
    assert (run.step, run.rewiring.steps) == (8, 8)
    for log in ("metrics.jsonl", "topology.jsonl"):
        assert (folder / log).read_bytes() == b"".join(
            line for line in whole[log].splitlines(True) if json.loads(line)["step"] < 8
        )
    run.save()
    run.train(progress=False)
    for name in ("topology.jsonl", "checkpoint-00000020.safetensors"):
        assert files(folder)[name] == whole[name]
    steps = [entry["step"] for entry in read_metrics(folder / "metrics.jsonl")]
    assert steps == [2, 4, 6, 10, 12, 14, 16, 18, 20]


def test_weights_that_are_not_finite_are_not_saved(tmp_path, start):
    def spoil(step):
        if step == 9:
            run.model.readout.weight.register_hook(lambda gradient: gradient * float("nan"))

    run = start(tmp_path, at_step=spoil)
    with pytest.raises(FloatingPointError, match=r"readout\.weight .* at step 10; .* step 5 stays"):
        run.train(progress=False)
    assert Checkpoint.load(tmp_path).step == 5


def test_a_killed_start_is_not_resumed_with_other_settings(tmp_path, start):
    start(tmp_path)
    for path in tmp_path.glob("checkpoint*"):
        path.unlink()
    with pytest.raises(CheckpointError, match="found seed = 1 instead of 0"):
        start(tmp_path, resume=True, seed=1)
    assert start(tmp_path, seed=1).config.seed == 1
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 1


class Killed(BaseException):
    pass


class Writer:
    """Saves checkpoints whose every number is their step."""

    def __init__(self):
        self.model = nn.Sequential(SparseLinear(6, 6, density=0.5))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.rule = Static(self.model, self.optimizer)

    def save(self, step, folder):
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.fill_(step)
        Checkpoint.of(step, self.model, self.optimizer, self.rule).save(folder)


def loaded_step(folder):
    checkpoint = Checkpoint.load(folder)
    assert set(checkpoint.model["0.weight.values"].tolist()) == {checkpoint.step}
    return checkpoint.step


def kill_at_call(monkeypatch, number):
    """Raises at the given call of any function that changes the disk; returns what was called."""
    calls = []

    def patch(owner, name):
        original = getattr(owner, name)

        def counted(*arguments):
            calls.append(name)
            if len(calls) == number:
                raise Killed
            return original(*arguments)

        monkeypatch.setattr(owner, name, counted)

    patch(os, "fsync")
    patch(os, "replace")
    patch(Path, "unlink")
    return calls


def test_a_kill_between_any_two_writes_leaves_one_whole_checkpoint(tmp_path, monkeypatch):
    writer = Writer()
    survivors = []
    for number in range(1, 100):
        folder = tmp_path / str(number)
        folder.mkdir()
        writer.save(1, folder)
        with monkeypatch.context() as context:
            calls = kill_at_call(context, number)
            try:
                writer.save(2, folder)
            except Killed:
                survivors.append(loaded_step(folder))
            else:
                break
        writer.save(3, folder)
        assert loaded_step(folder) == 3
        assert len(list(folder.iterdir())) == 2
    # A file, its name, the folder's list of names: for the tensors, then for the record.
    assert calls == ["fsync", "replace", "fsync"] * 2 + ["unlink"]
    assert survivors == [1, 1, 1, 1, 1, 2, 2]


def run_here(script, folder):
    """Runs Python with this folder's modules at hand, in a process of one thread."""
    script = f"import torch; torch.set_num_threads(1)\n{script}"
    return run_script(script, str(folder), cwd=Path(__file__).parent)


# The rounds and damages of tests/exhaustive, but a few of them.
KILL_ROUNDS = """
import pathlib, sys, kill_rounds
kill_rounds.main("SET", pathlib.Path(sys.argv[1]), 3)
"""
DAMAGE = """
import pathlib, sys, damage
damage.main(pathlib.Path(sys.argv[1]), 499)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_at_random_moments_equals_one_that_never_stopped(tmp_path):
    done = run_here(KILL_ROUNDS, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_no_damage_goes_unnoticed(tmp_path):
    done = run_here(DAMAGE, tmp_path)
    assert done.returncode == 0, done.stderr
    exact, refused = map(int, done.stdout.split())
    assert exact > 0 and refused > 40
