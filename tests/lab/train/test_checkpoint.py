"""Checkpoints: exact, whole, and distrustful of what they read."""

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sparse_engine.lab.train import Checkpoint, CheckpointError
from sparse_engine.nn import SparseLinear
from sparse_engine.topology import SET, Static

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-3, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, betas=(0.85, 0.995)),
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "Adamax": torch.optim.Adamax,
    "Adadelta": torch.optim.Adadelta,
    "Adagrad": torch.optim.Adagrad,
    "ASGD": torch.optim.ASGD,
    "RMSprop": lambda p: torch.optim.RMSprop(p, momentum=0.5, centered=True),
    "Rprop": torch.optim.Rprop,
    "Adafactor": torch.optim.Adafactor,
}


class Setup:
    """A sparse and a dense layer, an optimizer with two groups, and a rule."""

    def __init__(self, optimizer="Adam", *, seed=0, features=10):
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self.model = nn.Sequential(
            SparseLinear(8, features, density=0.4, generator=generator), nn.Linear(features, 3)
        )
        groups = [{"params": list(layer.parameters())} for layer in self.model]
        self.optimizer = OPTIMIZERS[optimizer](groups)
        self.rule = SET(self.model, self.optimizer, every=2, seed=seed)
        self.steps = 0

    def train(self, steps):
        for _ in range(steps):
            x = torch.randn(6, 8, generator=torch.Generator().manual_seed(self.steps))
            self.optimizer.zero_grad()
            self.model(x).square().mean().backward()
            self.optimizer.step()
            self.rule.step()
            self.steps += 1
        return self

    def save(self, folder):
        Checkpoint.of(self.steps, self.model, self.optimizer, self.rule).save(folder)

    def load(self, folder):
        checkpoint = Checkpoint.load(folder)
        checkpoint.restore(self.model, self.optimizer, self.rule)
        self.steps = checkpoint.step
        return self


def assert_same(one, other):
    assert one.steps == other.steps
    assert one.rule.state_dict() == other.rule.state_dict()
    for (name, a), (_, b) in zip(
        one.model.state_dict().items(), other.model.state_dict().items(), strict=True
    ):
        assert a.dtype == b.dtype and torch.equal(a, b), name
    states = one.optimizer.state_dict()["state"], other.optimizer.state_dict()["state"]
    assert states[0].keys() == states[1].keys()
    for slot, entries in states[0].items():
        assert entries.keys() == states[1][slot].keys()
        for name, value in entries.items():
            found = states[1][slot][name]
            assert type(found) is type(value), name
            assert torch.equal(value, found) if isinstance(value, torch.Tensor) else value == found


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_goes_on_bit_for_bit(tmp_path, optimizer):
    Setup(optimizer).train(5).save(tmp_path)
    resumed = Setup(optimizer, seed=9).load(tmp_path)
    assert_same(resumed, Setup(optimizer).train(5))
    assert_same(resumed.train(5), Setup(optimizer).train(10))


def test_restores_hyperparameters_exactly(tmp_path):
    setup = Setup()
    setup.optimizer.param_groups[1]["lr"] = 0.1 + 0.2
    setup.save(tmp_path)
    groups = Setup().load(tmp_path).optimizer.param_groups
    assert [group["lr"] for group in groups] == [1e-3, 0.1 + 0.2]


def test_leaves_two_files_without_pickle(tmp_path):
    setup = Setup()
    (tmp_path / "checkpoint-best.safetensors").write_text("the user's own")
    (tmp_path / ".checkpoint-00000001.safetensors.partial").write_text("left by a kill")
    for _ in range(3):
        setup.train(2).save(tmp_path)
    record = json.loads((tmp_path / "checkpoint.json").read_text())
    assert record["tensors"] == "checkpoint-00000006.safetensors"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"checkpoint.json", record["tensors"], "checkpoint-best.safetensors"}
    tensors = load_file(tmp_path / record["tensors"])
    assert torch.equal(tensors["model.0.weight.values"], setup.model[0].weight.values)


@pytest.fixture
def saved(tmp_path):
    Setup().train(4).save(tmp_path)
    return tmp_path


def edit(folder, change):
    """Changes the record."""
    path = folder / "checkpoint.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def tensor_file(folder):
    return folder / json.loads((folder / "checkpoint.json").read_text())["tensors"]


def replace_tensors(folder, change):
    """Rewrites the tensors with the hash that belongs to them."""
    path = tensor_file(folder)
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(folder, lambda record: record.update(sha256=digest))


def test_says_that_there_is_none(tmp_path):
    with pytest.raises(CheckpointError, match=r"found no checkpoint\.json; start again"):
        Checkpoint.load(tmp_path)


def test_refuses_tensors_that_are_not_safetensors(saved):
    path = tensor_file(saved)
    path.write_bytes(b"\x80\x04not a tensor")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(saved, lambda record: record.update(sha256=digest))
    with pytest.raises(CheckpointError, match="expected safetensors"):
        Checkpoint.load(saved)


@pytest.mark.parametrize(
    "content", [b"[]", b"{}", b"null", b"3", b'{"format": "other"}', b'{"format": []}']
)
def test_refuses_foreign_records(saved, content):
    (saved / "checkpoint.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="found something else"):
        Checkpoint.load(saved)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 200_000, b"\0" * 50])
def test_refuses_records_that_are_not_json(saved, content):
    (saved / "checkpoint.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="expected JSON"):
        Checkpoint.load(saved)


@pytest.mark.parametrize("version", [0, 2, "1", None, [], 1.5])
def test_refuses_other_versions(saved, version):
    edit(saved, lambda record: record.update(version=version))
    with pytest.raises(CheckpointError, match=r"expected checkpoint version 1 .*, found"):
        Checkpoint.load(saved)


def load_all(folder):
    Setup().load(folder)


@pytest.mark.parametrize("name", ["step", "tensors", "sha256", "values", "param_groups"])
@pytest.mark.parametrize("value", [None, -1, 1.5, "x", "", "\0", [], {}, [1], {"a": 1}])
def test_refuses_a_wrong_entry(saved, name, value):
    edit(saved, lambda record: record.update({name: value}))
    with pytest.raises(CheckpointError, match="expected"):
        load_all(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(values={"x": 1}),
        lambda record: record.update(values={"optimizer.x.step": 1}),
        lambda record: record.update(values=[1]),
        lambda record: record.update(param_groups=[]),
        lambda record: record.update(param_groups=3),
        lambda record: record["param_groups"].pop(),
        lambda record: record["param_groups"][0].pop("params"),
        lambda record: record["param_groups"][0]["params"].pop(),
    ],
)
def test_refuses_optimizer_records_that_do_not_fit(saved, change):
    edit(saved, change)
    with pytest.raises(CheckpointError, match="expected"):
        load_all(saved)


def test_does_not_follow_paths_out_of_the_folder(saved, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / tensor_file(saved).name
    shutil.move(tensor_file(saved), outside)
    edit(saved, lambda record: record.update(tensors=str(outside)))
    with pytest.raises(CheckpointError, match="found no such file"):
        Checkpoint.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("model.1.bias"),
        lambda t: t.update({"model.1.extra": torch.zeros(1)}),
        lambda t: t.update({"model.1.bias": torch.zeros(4)}),
        lambda t: t.update({"nothing": torch.zeros(1)}),
        lambda t: t.update({"optimizer.x.exp_avg": torch.zeros(1)}),
        lambda t: t.update({"model.0.weight.values": t["model.0.weight.values"][:-1].clone()}),
        lambda t: t["model.0.weight.col_indices"].fill_(99),
        lambda t: t["model.0.weight.crow_indices"].fill_(-1),
    ],
)
def test_refuses_tensors_that_do_not_fit(saved, change):
    replace_tensors(saved, change)
    with pytest.raises(CheckpointError, match="expected"):
        load_all(saved)


def test_names_the_shapes_of_another_model(saved):
    with pytest.raises(CheckpointError, match=r"set up like this one.*size mismatch"):
        Setup(features=11).load(saved)


def test_takes_another_number_of_links(tmp_path):
    """The wiring is part of the state: a run may start with more links than it saved."""
    setup = Setup()
    layer = SparseLinear(8, 10, density=0.8)
    other = nn.Sequential(layer, nn.Linear(10, 3))
    optimizer = torch.optim.Adam([{"params": list(part.parameters())} for part in other])
    setup.train(3).save(tmp_path)
    Checkpoint.load(tmp_path).restore(other, optimizer, Static(other, optimizer))
    assert layer.weight.nnz == setup.model[0].weight.nnz
    assert torch.equal(layer.weight.to_dense(), setup.model[0].weight.to_dense())
