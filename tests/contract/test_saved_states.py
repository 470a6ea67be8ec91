"""State dicts of every cell that were saved by an earlier version load, and give its outputs."""

import json
from pathlib import Path

import pytest
import torch
from testing import CELLS

SAVED = json.loads((Path(__file__).parent / "saved_states.json").read_text())


def tensor(saved):
    dtype = getattr(torch, saved.get("dtype", "float32"))
    return torch.tensor(saved["values"], dtype=dtype).reshape(saved["shape"])


def test_every_cell_has_one():
    assert SAVED.keys() == CELLS.keys()


@pytest.mark.parametrize("cell", SAVED)
def test_a_saved_state_dict_loads(cell):
    saved = SAVED[cell]
    network = CELLS[cell](3, 7, density=0.3, **saved["options"])
    assert [*network.state_dict()] == [*saved["state"]]
    network.load_state_dict({name: tensor(each) for name, each in saved["state"].items()})
    x = torch.linspace(-1, 1, 4 * 2 * 3).reshape(4, 2, 3).sin()
    torch.testing.assert_close(network(x)[0], tensor(saved["output"]), rtol=1e-5, atol=1e-6)
