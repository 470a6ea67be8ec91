"""Links whose sign turns: a literal reading with a dictionary, and the memory."""

import io

import pytest
import torch

from sparse_engine.nn import SparseRNN
from sparse_engine.ops import RandomKey
from sparse_engine.topology import Dynamic, Normal, SignChange, Uniform, Zero
from sparse_engine.topology.rewiring import rewire_weight


def sign(value):
    return (value > 0) - (value < 0)


class Literal:
    """The sign of each link at first sight, by cell."""

    def __init__(self):
        self.signs = {}

    def drop(self, links):
        for cell, value in links.items():
            self.signs[cell] = self.signs.get(cell) or sign(value)
        gone = [sign(value) == -self.signs[cell] != 0 for cell, value in links.items()]
        fallen = dict(zip(links, gone, strict=True))
        self.signs = {cell: self.signs[cell] for cell in links if not fallen[cell]}
        return gone


@pytest.mark.parametrize("birth", [Zero(), Normal(1.0)])
@pytest.mark.parametrize("shape", [(6, 7, 20), (6, 7, 41), (1, 1, 1), (3, 3, 0), (1, 30, 5)])
def test_literally_over_many_rewirings(shape, birth, weight_of, links_of):
    rows, cols, nnz = shape
    weight = weight_of(torch.randn(nnz), rows, cols)
    rule, literal, turned = SignChange(), Literal(), 0
    for step in range(60):
        with torch.no_grad():
            weight.values += 0.3 * torch.randn(nnz)
            weight.values[torch.rand(nnz) < 0.1] = 0.0
        key = RandomKey(1, step, 4)
        dropped = rule.drop(weight, 0.3, key)
        assert dropped.tolist() == literal.drop(links_of(weight))
        count = int(dropped.sum())
        turned += count
        rewire_weight(
            weight, None, dropped=dropped, count=count, grow=Uniform(), birth=birth, key=key
        )
    assert turned > nnz / 2 or nnz == 0


def test_at_first_sight_nothing_goes_and_0_is_no_sign(weight_of):
    weight, rule = weight_of(torch.tensor([1.0, -1.0, 0.0, -0.0]), 2, 3), SignChange()
    rounds = [
        ([1.0, -1.0, 0.0, -0.0], [0, 0, 0, 0]),
        ([0.0, -2.0, -1.0, 0.0], [0, 0, 0, 0]),
        ([-1e-30, 0.0, -1.0, 5.0], [1, 0, 0, 0]),
    ]
    for values, gone in rounds:
        weight.values.data = torch.tensor(values)
        assert rule.drop(weight, 0.3, RandomKey(0)).int().tolist() == gone


def test_remembering_at_another_time(weight_of):
    weight, rule = weight_of(torch.tensor([1.0, -1.0, 2.0]), 2, 2), SignChange()
    rule.remember(weight, 3)
    with torch.no_grad():
        weight.values.neg_()
    rule.remember(weight, 3)
    assert not rule.drop(weight, 0.3, RandomKey(0, 0, 2)).any()
    assert rule.drop(weight, 0.3, RandomKey(0, 0, 3)).all()


def test_a_removed_link_is_forgotten(weight_of):
    weight, rule = weight_of(torch.ones(4), 2, 2), SignChange()
    rule.remember(weight)
    weight.values.data = torch.tensor([1.0, -1.0, 1.0, 1.0])
    assert rule.drop(weight, 0.3, RandomKey(0)).tolist() == [False, True, False, False]
    weight.values.data = torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert rule.drop(weight, 0.3, RandomKey(0)).tolist() == [False, False, False, True]


def train(seed, first, last, state=None):
    model = SparseRNN(3, 20, density=0.2, generator=torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    rule = Dynamic(
        model, optimizer, prune=SignChange(), grow=Uniform(), every=2, seed=seed, birth=Normal(0.1)
    )
    parts = (model, optimizer, rule)
    if state is not None:
        for part, entries in zip(parts, torch.load(state, weights_only=True), strict=True):
            part.load_state_dict(entries)
    for step in range(first, last):
        x = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x)[0].square().mean().backward()
        optimizer.step()
        rule.step()
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    file.seek(0)
    return file, model.state_dict()


def test_a_run_that_is_resumed_equals_one_that_never_stopped():
    whole = train(1, 0, 20)[1]
    resumed = train(2, 9, 20, state=train(1, 0, 9)[0])[1]
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


CELLS, SIGNS = torch.tensor([1, 5, 7]), torch.tensor([1, -1, 0], dtype=torch.int8)


@pytest.mark.parametrize(
    "state",
    [
        {"cells.0": CELLS},
        {"signs.0": SIGNS},
        {"cells.0": CELLS, "signs.1": SIGNS},
        {"cells.0": CELLS, "signs.0": SIGNS[:2]},
        {"cells.0": CELLS.flip(0), "signs.0": SIGNS},
        {"cells.0": CELLS, "signs.0": SIGNS.float()},
        {"cells.0": CELLS, "signs.0": 1},
        {"cells.x": CELLS, "signs.x": SIGNS},
        {"cells.0": CELLS, "signs.0": SIGNS, "more.0": SIGNS},
    ],
)
def test_a_foreign_memory_is_refused(state):
    rule = SignChange()
    rule.load_state_dict({"cells.3": CELLS, "signs.3": SIGNS})
    with pytest.raises(ValueError, match=r"expected cells.*signs.*found"):
        rule.load_state_dict(state)
    assert rule.state_dict().keys() == {"cells.3", "signs.3"}


def test_nan_is_named(with_nan):
    with pytest.raises(ValueError, match="NaN at link 4"):
        SignChange().drop(with_nan, 0.3, RandomKey(0))
