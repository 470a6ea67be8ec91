"""Models of the Hugging Face Hub: the folder gives every link back."""

import pytest
import torch
from torch import nn

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
from safetensors.torch import load_file, save_file
from testing import output_of

from sparse_engine.hub import HubMixin
from sparse_engine.nn import SparseGRU, SparseLSTM, SparseWeight
from sparse_engine.topology import SET, GradualPruning


class Model(nn.Module, HubMixin):
    def __init__(self, units: int, density: float = 0.2, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.lstm = SparseLSTM(3, units, density=density, dtype=dtype)
        self.readout = nn.Linear(units, 2, dtype=dtype)

    def forward(self, x):
        return self.readout(self.lstm(x)[0])


class Layer(SparseGRU, HubMixin):
    pass


def train(model, method):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    rewiring = method(model, optimizer)
    for _ in range(4):
        optimizer.zero_grad()
        output_of(model, inputs(model)).square().sum().backward()
        optimizer.step()
        rewiring.step()


def inputs(model):
    return torch.randn(5, 2, 3, dtype=next(model.parameters()).dtype)


METHODS = {
    "rewired": lambda model, optimizer: SET(model, optimizer, fraction=0.5, every=1),
    "pruned": lambda model, optimizer: GradualPruning(
        model, optimizer, density=0.05, start=0.2, every=1, last=3
    ),
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was made"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "make",
    [lambda: Model(20), lambda: Layer(3, 20, density=0.3), lambda: Model(9, dtype=torch.float32)],
)
def test_a_folder_gives_every_link_back(tmp_path, make, method):
    model = make()
    first = [m.topology_version for m in model.modules() if isinstance(m, SparseWeight)]
    train(model, METHODS[method])
    weights = [m for m in model.modules() if isinstance(m, SparseWeight)]
    assert [m.topology_version for m in weights] != first
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    states = model.state_dict(), again.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert tensor.dtype == states[1][name].dtype and torch.equal(tensor, states[1][name]), name
    x = inputs(model)
    assert torch.equal(output_of(model.eval(), x), output_of(again.eval(), x))


def test_files_that_do_not_fit_are_refused(tmp_path):
    Model(6).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    save_file({name: each for name, each in state.items() if name != "readout.bias"}, path)
    with pytest.raises(RuntimeError, match=r"readout\.bias"):
        Model.from_pretrained(tmp_path)
    Model.from_pretrained(tmp_path, strict=False)
    state["lstm.weight_hh_l0.col_indices"] += 100
    save_file(state, path)
    with pytest.raises((RuntimeError, ValueError), match="expected col_indices in"):
        Model.from_pretrained(tmp_path)


def test_pickles_are_not_read(tmp_path):
    with pytest.raises(ValueError, match=r"expected model\.safetensors, found a pickle"):
        Model._load_as_pickle(Model(4), str(tmp_path / "pytorch_model.bin"), "cpu", True)
