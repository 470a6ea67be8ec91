"""Checkpoints: whole, and distrustful of what they read. topology/test_resume.py resumes."""

import hashlib
import json
import shutil

import pytest
import torch
from methods import build, make_method, train
from safetensors.torch import load_file, save_file
from testing import random_pattern

from sparse_engine.lab.train import Checkpoint, CheckpointError
from sparse_engine.topology import SET, Static


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
