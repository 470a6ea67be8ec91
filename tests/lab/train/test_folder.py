"""The folder of a run: its checkpoints, what else is in it, and what fails on a disk."""

import errno
import hashlib
import json
import os
import resource
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from contract.networks import mostly_exhaustive
from fresh_process import run_script
from methods import build, make_method, train
from safetensors.torch import load_file, save_file
from testing import random_pattern
from torch import nn

from sparse_engine.lab.train import Checkpoint, CheckpointError, read_metrics
from sparse_engine.nn import SparseLinear
from sparse_engine.topology import SET, Static

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
    assert (run.step, run.rewiring.steps_taken) == (8, 8)
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


def run_here(script, *arguments):
    """Run Python with this folder's modules at hand, in a process of one thread; what it prints."""
    script = f"import pathlib, sys, torch; torch.set_num_threads(1)\n{script}"
    done = run_script(script, *map(str, arguments), cwd=Path(__file__).parent, timeout=600)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


KILL_ROUNDS = "import kill_rounds; kill_rounds.main(sys.argv[1], pathlib.Path(sys.argv[2]), 3)"
DAMAGE = "import damage; damage.main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))"


# What others remember is resumed in tests/topology.
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@mostly_exhaustive("method", ["SET", "RigL", "ITOP", "DeepR", "SNFS", "GradualPruning"], "SET")
def test_a_run_killed_at_random_moments_equals_one_that_never_stopped(tmp_path, method):
    assert run_here(KILL_ROUNDS, method, tmp_path) == [3]


@pytest.mark.parametrize(
    ("stride", "fewest"), [(499, 40), pytest.param(13, 400, marks=pytest.mark.exhaustive)]
)
def test_no_damage_goes_unnoticed(tmp_path, stride, fewest):
    exact, refused = run_here(DAMAGE, tmp_path, stride)
    assert exact > 0 and refused > fewest


def setup(seed=0):
    """A network, its Adam and SET."""
    return build(make_method(SET, every=2), seed)


def test_leaves_two_files_without_pickle(tmp_path):
    parts = setup()
    (tmp_path / "checkpoint-best.safetensors").write_text("the user's own")
    (tmp_path / ".checkpoint-00000001.safetensors.partial").write_text("left by a kill")
    for step in (2, 4, 6):
        train(parts, step - 2, step)
        Checkpoint.of(step, *parts).save(tmp_path)
    record = json.loads((tmp_path / "checkpoint.json").read_text())
    assert record["tensors"] == "checkpoint-00000006.safetensors"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"checkpoint.json", record["tensors"], "checkpoint-best.safetensors"}
    tensors = load_file(tmp_path / record["tensors"])
    assert torch.equal(tensors["model.weight_hh_l0.values"], parts.model.weight_hh_l0.values)


@pytest.fixture
def saved(tmp_path):
    parts = setup()
    train(parts, 0, 4)
    Checkpoint.of(4, *parts).save(tmp_path)
    return tmp_path


def edit(folder, **entries):
    path = folder / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def tensor_file(folder):
    return folder / json.loads((folder / "checkpoint.json").read_text())["tensors"]


def replace(folder, content):
    """Exchange the file of tensors, with the hash that belongs to it."""
    tensor_file(folder).write_bytes(content)
    edit(folder, sha256=hashlib.sha256(content).hexdigest())


def load(folder):
    Checkpoint.load(folder).restore(*setup(seed=1))


def moved(folder):
    """Tensors outside the folder, to which the record has a path."""
    outside = folder.parent / f"{folder.name} outside"
    shutil.move(tensor_file(folder), outside)
    edit(folder, tensors=str(outside))


DAMAGES = {
    "nothing": (lambda f: [path.unlink() for path in f.iterdir()], r"found no checkpoint\.json"),
    "no tensors": (lambda f: tensor_file(f).unlink(), "found no such file"),
    "outside": (moved, "found no such file"),
    "changed": (lambda f: edit(f, sha256="0" * 64), "found it truncated or changed"),
    "pickle": (lambda f: replace(f, b"\x80\x04not a tensor"), "expected safetensors"),
    **{
        content[:20]: (lambda f, c=content: (f / "checkpoint.json").write_bytes(c.encode()), text)
        for text, contents in {
            "found something else": ("[]", "null", "3", '{"format": "other"}', '{"format": []}'),
            "expected JSON": ("", '{"format"', "[" * 200_000, "\0" * 50),
        }.items()
        for content in contents
    },
    **{
        f"version {version}": (
            lambda f, v=version: edit(f, version=v),
            "expected checkpoint version 1 .*, found",
        )
        for version in (0, 2, "1", None, [], 1.5)
    },
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_named(saved, name):
    damage, message = DAMAGES[name]
    damage(saved)
    with pytest.raises(CheckpointError, match=message):
        load(saved)


WRONG = [None, -1, 1.5, "x", "", "\0", [], {}, [1], {"a": 1}]
VALUES = [{"x": 1}, {"optimizer.x.step": 1}]
GROUPS = [[{}], [{"params": [0]}], [{"params": [0]}, {"params": [1]}]]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, WRONG) for name in ("step", "tensors", "sha256")),
        ("values", WRONG + VALUES),
        ("param_groups", WRONG + GROUPS),
    ],
)
def test_a_wrong_entry_is_refused(saved, name, values):
    for value in values:
        edit(saved, **{name: value})
        with pytest.raises(CheckpointError, match="expected"):
            load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("model.bias_hh_l0"),
        lambda t: t.update({"model.extra": torch.zeros(1)}),
        lambda t: t.update({"model.bias_hh_l0": torch.zeros(4)}),
        lambda t: t.update({"nothing": torch.zeros(1)}),
        lambda t: t.update({"optimizer.x.exp_avg": torch.zeros(1)}),
        lambda t: t.update({"model.weight_hh_l0.values": t["model.weight_hh_l0.values"][1:]}),
        lambda t: t["model.weight_hh_l0.col_indices"].fill_(99),
        lambda t: t["model.weight_hh_l0.crow_indices"].fill_(-1),
    ],
)
def test_tensors_that_do_not_fit_are_refused(saved, change, tmp_path_factory):
    tensors = load_file(tensor_file(saved))
    change(tensors)
    changed = tmp_path_factory.mktemp("changed") / "tensors"
    save_file({name: each.contiguous() for name, each in tensors.items()}, changed)
    replace(saved, changed.read_bytes())
    with pytest.raises(CheckpointError, match="expected"):
        load(saved)


def test_takes_another_number_of_links(saved):
    """The wiring is part of the state: a run may start with more links than it saved."""
    other = build(lambda model, optimizer, seed: Static(model, optimizer), 3)
    weight, checkpoint = other.model.weight_hh_l0, Checkpoint.load(saved)
    weight.set_pattern(random_pattern(24, 24, 300), torch.randn(300))
    checkpoint.restore(*other)
    assert torch.equal(weight.values, checkpoint.model["weight_hh_l0.values"])
