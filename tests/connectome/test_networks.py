"""Networks on connectomes, against literal loops over links in float64."""

import numpy as np
import pandas as pd
import pytest
import torch

from sparse_engine import connectome
from sparse_engine.connectome import DaleLaw, Fixed, Free, LowRank, TypePairs, from_table
from sparse_engine.errors import InputError
from sparse_engine.nn import SparseGRU, SparseRateRNN, SparseRNN

TAU = {"a": 0.05, "b": 0.02, "c": 0.1}
BIAS = {"a": 0.5, "b": -0.1, "c": 0.3}


@pytest.fixture
def brain():
    rng = np.random.default_rng(0)
    pre, post = rng.integers(24, size=(2, 150))
    neurons = pd.DataFrame({"id": np.arange(24), "type": [*"abc"] * 8})
    sign = np.where(pre % 4 == 0, -1, 1)
    return from_table(pre, post, rng.integers(1, 9, 150), sign=sign, neurons=neurons)


def make(brain, weights=None, **options):
    given = {"by": "type", "tau": TAU, "bias": BIAS, "dtype": torch.float64, "dt": 0.01}
    network = brain.network(SparseRateRNN, weights=weights, **{**given, **options})
    network.scale_(0.05)
    return network


def trajectory(brain, x, strength, dt=0.01):
    """``tau dv/dt = -v + bias + sum over links of strength relu(v_pre) + input``, by Euler."""
    types = brain.neurons["type"]
    v = torch.zeros(x.shape[1], len(brain), dtype=torch.float64)
    tau, bias = (torch.tensor(types.map(each).to_numpy()) for each in (TAU, BIAS))
    links, found = brain.links(), []
    for now in x:
        total = torch.zeros_like(v)
        for k in range(len(links)):
            total[:, links["post"][k]] += strength[k] * v[:, links["pre"][k]].relu()
        v = v + dt / tau * (-v + bias + total + now)
        found.append(v)
    return torch.stack(found)


def counts(brain):
    return 0.05 * torch.tensor((brain.count * brain.sign).astype(float))


@pytest.mark.parametrize("every", [None, 4])
def test_a_rate_network_equals_a_loop_over_links(brain, every):
    network = make(brain, checkpoint_every=every)
    x = torch.randn(11, 3, 24, dtype=torch.float64)
    out, state = network({"neurons": x})
    v = trajectory(brain, x, counts(brain))
    torch.testing.assert_close(out["neurons"], v.relu())
    torch.testing.assert_close(state[0], v[-1])


@pytest.mark.parametrize("every", [None, 4])
def test_populations_are_named(brain, every):
    inputs = {"eye": {"type": "a"}, "ear": [5, 3]}
    readouts = {"legs": {"type": ["b"]}, "first": [0]}
    network = make(brain, inputs=inputs, readouts=readouts, checkpoint_every=every)
    eye = torch.randn(10, 2, 8, dtype=torch.float64)
    ear = torch.randn(10, 2, 1, dtype=torch.float64)
    whole = torch.zeros(10, 2, 24, dtype=torch.float64)
    whole[..., ::3] = eye
    whole[..., [3, 5]] += ear
    rates = trajectory(brain, whole, counts(brain)).relu()
    out, _ = network({"eye": eye, "ear": ear})
    torch.testing.assert_close(out["legs"], rates[..., 1::3])
    torch.testing.assert_close(out["first"], rates[..., :1])
    out, _ = network({"eye": eye})
    whole[..., [3, 5]] -= ear
    torch.testing.assert_close(
        out["first"], trajectory(brain, whole, counts(brain))[..., :1].relu()
    )


def test_segments_have_the_gradients_of_the_whole(brain):
    x = torch.randn(11, 3, 24, dtype=torch.float64)
    gradients = []
    for every in (None, 3, 20):
        network = make(brain, checkpoint_every=every)
        out, (state, *_) = network({"neurons": x})
        (out["neurons"].square().sum() + state.sum()).backward()
        gradients.append([each.grad for each in network.parameters() if each.requires_grad])
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0])


def test_gains_of_type_pairs(brain):
    weights = TypePairs()
    network = make(brain, weights)
    pairs = weights.pairs(brain)
    gain = torch.rand(len(pairs), dtype=torch.float64)
    network.weight.gain.data.copy_(gain)
    types, links = brain.neurons["type"], brain.links()
    of_pair = {
        pair: float(each) for pair, each in zip(pairs.itertuples(index=False), gain, strict=True)
    }
    each = [of_pair[types[links["pre"][k]], types[links["post"][k]]] for k in range(brain.nnz)]
    x = torch.randn(5, 2, 24, dtype=torch.float64)
    expected = trajectory(brain, x, counts(brain) * torch.tensor(each)).relu()
    torch.testing.assert_close(network({"neurons": x})[0]["neurons"], expected)


def test_a_matrix_of_low_rank_beside_the_links(brain):
    network = make(brain, LowRank(3))
    x = torch.randn(5, 2, 24, dtype=torch.float64)
    fixed = make(brain, Fixed())
    torch.testing.assert_close(network({"neurons": x})[0], fixed({"neurons": x})[0])
    network.weight.left.data.normal_()
    dense = network.weight.to_dense()
    sparse = brain.csr().toarray() * 0.05
    low = network.weight.left @ network.weight.right.T
    torch.testing.assert_close(dense, torch.from_numpy(sparse) + low)
    free = make(from_table(*np.indices((24, 24)).reshape(2, -1), neurons=brain.neurons))
    free.weight.values.data.copy_(dense.flatten())
    torch.testing.assert_close(network({"neurons": x})[0], free({"neurons": x})[0])


TRAINED = {
    "free": (Free(), {"values"}),
    "dale": (DaleLaw(), {"values"}),
    "fixed": (Fixed(), set()),
    "type pairs": (TypePairs(), {"gain"}),
    "low rank": (LowRank(2), {"left", "right"}),
}


@pytest.mark.parametrize("name", TRAINED)
def test_only_what_is_asked_for_is_trained(brain, name):
    weights, expected = TRAINED[name]
    network = make(brain, weights, trainable_tau=True)
    before = {each: value.clone() for each, value in network.named_parameters()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.5)
    network.attach(optimizer)
    x = torch.randn(8, 2, 24, dtype=torch.float64)
    for _ in range(3):
        optimizer.zero_grad()
        network({"neurons": x})[0]["neurons"].square().mean().backward()
        optimizer.step()
    changed = {each for each, value in network.named_parameters() if not value.equal(before[each])}
    assert changed == {f"rnn.weight_hh_l0.{each}" for each in expected} | {
        "rnn.bias_l0", "rnn.log_tau_l0"
    }  # fmt: skip
    assert network.weight.frozen_pattern
    signed = network.weight.values * torch.tensor(brain.sign)
    if name in ("dale", "type pairs", "fixed"):
        assert (signed >= 0).all()
    assert network.rnn.tau().unique().numel() == 3


def test_other_cells(brain):
    network = brain.network(SparseRNN, inputs={"a": {"type": "a"}}, nonlinearity="relu")
    network.scale_(0.01)
    x = torch.rand(4, 2, 8)
    h = torch.zeros(2, 24)
    w, b = network.weight.to_dense(), network.rnn.bias_ih_l0 + network.rnn.bias_hh_l0
    whole = torch.zeros(4, 2, 24)
    whole[..., ::3] = x
    for now in whole:
        h = (now + h @ w.T + b).relu()
    torch.testing.assert_close(network({"a": x})[0]["neurons"][-1], h)


def test_calibration_by_radius_and_by_rate(brain):
    network = make(brain)
    factor = network.calibrate(radius=0.8)
    eigenvalues = np.linalg.eigvals(network.weight.to_dense().detach().numpy())
    assert np.abs(eigenvalues).max() == pytest.approx(0.8, rel=0.02)
    expected = 0.05 * factor * brain.csr().toarray()
    np.testing.assert_allclose(network.weight.to_dense().detach(), expected)
    inputs = {"neurons": torch.rand(50, 2, 24, dtype=torch.float64)}
    before = network(inputs)[0]["neurons"].detach().mean()
    network.calibrate(rate=1.2 * float(before), inputs=inputs, tolerance=1e-3)
    after = network(inputs)[0]["neurons"].detach().mean()
    assert float(after) == pytest.approx(1.2 * float(before), rel=1e-3)
    scaled = network.weight.values.clone()
    with pytest.raises(ValueError, match="rate of -1"):
        network.calibrate(rate=-1.0, inputs=inputs)
    torch.testing.assert_close(network.weight.values, scaled)
    with pytest.raises(ValueError, match="radius, or rate"):
        network.calibrate()
    chain = from_table([1, 2], [2, 3]).network(SparseRNN)
    with pytest.raises(ValueError, match="cycle"):
        chain.calibrate(radius=1)


def test_wrong_arguments(brain):
    network = make(brain, inputs={"eye": {"type": "a"}})
    with pytest.raises(InputError, match="expected inputs of eye, found \\['ear'\\]"):
        network({"ear": torch.zeros(1, 1, 1)})
    with pytest.raises(InputError, match=r"'eye' of shape \[5, 8, 8\], found \[5, 8\]"):
        network({"eye": torch.zeros(5, 8)})
    with pytest.raises(InputError, match="expected input of shape"):
        network({"eye": torch.zeros(5, 2, 7)})
    wrong = {
        "by": ({"by": "kind"}, "found 'kind'"),
        "tau": ({"tau": {"a": 1.0}}, "none for 'b'"),
        "column": ({"tau": "id"}, "one 'id' for all neurons of a group"),
        "nobody": ({"inputs": {"eye": {"type": "z"}}}, "populations with neurons.*eye"),
    }
    for given, message in wrong.values():
        with pytest.raises(connectome.TableError, match=message):
            make(brain, **given)
    with pytest.raises(TypeError, match="time constants, found SparseGRU"):
        brain.network(SparseGRU, tau=1.0)
    with pytest.raises(TypeError, match="one bias a unit, found SparseRNN"):
        brain.network(SparseRNN, bias=1.0)
