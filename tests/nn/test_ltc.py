"""SparseLTC: how its parameters start, and how they are kept in their ranges."""

import torch
from testing import leaves_of

from sparse_engine.nn import SparseLTC


def test_fresh_parameters():
    network = SparseLTC(7, 200, density=0.5)
    weight, sensory = network.weight_hh_l0, network.weight_ih_l0
    assert weight.nnz == 20_000 and sensory.nnz == 7 * 200
    for name, low, high in (("values", 0.01, 1), ("mu", 0.3, 0.8), ("sigma", 3, 8)):
        entries = getattr(weight, name)
        assert low <= entries.min() < low + 0.01 * high and high - 0.01 * high < entries.max()
        assert entries.max() <= high
    assert set(weight.erev.tolist()) == {-1.0, 1.0} and abs(weight.erev.mean()) < 0.05
    assert -0.2 <= network.vleak_l0.min() < -0.15 and 0.15 < network.vleak_l0.max() <= 0.2
    for name, entry in {"gleak": 1, "cm": 0.5, "input_w": 1, "input_b": 0}.items():
        assert (getattr(network, f"{name}_l0") == entry).all()
    one, other = (
        SparseLTC(7, 20, density=0.5, generator=torch.Generator().manual_seed(3)) for _ in "ab"
    )
    for name, entry in one.state_dict().items():
        assert torch.equal(entry, other.state_dict()[name]), name


def test_clipping():
    network = SparseLTC(6, 21, 2, density=0.3, bidirectional=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e6)
    optimizer.register_step_post_hook(lambda *_: network.clip_())
    network(*leaves_of(network, 3, 2))[0].sum().backward()
    mu, sigma = network.weight_hh_l0.mu.detach().clone(), network.weight_hh_l0.sigma
    optimizer.step()
    ranges = {"cm": (1e-6, 1e3), "gleak": (1e-5, 1e3), "values": (0, 1e3)}
    for name, parameter in network.named_parameters():
        kind = name.split("_")[0] if "values" not in name else "values"
        if kind in ranges:
            low, high = ranges[kind]
            assert low <= parameter.min() and parameter.max() <= high, name
    values = network.weight_hh_l0.values
    assert (values == 0).any() and (values == 1e3).any()
    assert not torch.equal(mu, network.weight_hh_l0.mu) and (sigma.abs() > 1e3).any()
