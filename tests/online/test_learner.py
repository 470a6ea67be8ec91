"""Episodes, rewiring, saved states, memory, and what is refused."""

import pytest
import torch
from contract.networks import INPUTS, UNITS, make
from online.test_exact import LANES, assert_gradients, by_steps, data, gradients, through_time
from torch import nn
from torch.testing import assert_close

from sparse_engine import online
from sparse_engine.nn import SparseLSTM, SparseRNN
from sparse_engine.topology import SET, RigL

METHODS = {
    "rtrl": online.RTRL,
    "snap1": online.SnAp,
    "snap2": lambda network: online.SnAp(network, 2),
    "rflo": online.RFLO,
    "eprop": online.EProp,
}
of_methods = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def influence(learner):
    return {n: each for n, each in learner.state_dict().items() if n.startswith("influence")}


@of_methods
def test_what_an_episode_learns_does_not_depend_on_the_one_before(method):
    network = make("gru")
    x, upstream, _ = data()
    _, fresh = by_steps(method(network), x[4:], upstream[4:])
    learner = method(network)
    by_steps(learner, x[:4], upstream[:4])
    resets = torch.zeros(5, LANES)
    resets[0] = 1
    _, found = by_steps(learner, x[4:], upstream[4:], resets)
    assert_gradients(found, fresh)


@of_methods
def test_lanes_are_independent(method):
    network, (x, upstream, resets) = make("lstm" if method is not online.RFLO else "rnn"), data()
    _, together = by_steps(method(network), x, upstream, resets)
    alone = [
        by_steps(method(network), *(each[:, i : i + 1] for each in (x, upstream, resets)))[1]
        for i in range(LANES)
    ]
    assert_gradients(together, {name: sum(each[name] for each in alone) for name in together})


def test_truncation_stops_gradients_but_keeps_states():
    network, (x, upstream, _) = make("rnn"), data()
    _, h = network(x[:4])
    _, wanted = through_time(network, x[4:], upstream[4:], hx=h.detach())
    learner = online.RTRL(network)
    by_steps(learner, x[:4], upstream[:4])
    learner.truncate()
    assert_gradients(by_steps(learner, x[4:], upstream[4:])[1], wanted)


def test_all_lanes_that_begin_may_be_of_another_number():
    network, (x, upstream, _) = make("rnn"), data()
    learner = online.RTRL(network)
    learner.step(x[0])
    with pytest.raises(ValueError, match=r"3 lanes, as before, found 1"):
        learner.step(x[0, :1])
    _, wanted = by_steps(online.RTRL(network), x[:1, :1], upstream[:1, :1])
    resets = torch.ones(1, 1, dtype=torch.bool)
    _, found = by_steps(learner, x[:1, :1], upstream[:1, :1], resets)
    assert_close(found, wanted)


@of_methods
@pytest.mark.parametrize("kind", ["weight_hh_l0", "weight_ih_l0"])
def test_influence_moves_with_links_that_are_rewired(method, kind):
    """That of a link that stays is the same, that of a new link is zero."""
    network, (x, upstream, _) = make("rnn", input_density=0.5), data()
    learner, weight = method(network), getattr(network, kind)
    by_steps(learner, x, upstream)
    before, places, maps = of_positions(learner, kind), positions(weight), {}
    observers = (lambda name, _, rewired: maps.update({name: rewired.slot_map.tolist()}),)
    rewiring = SET(network, None, every=1, fraction=0.4, observers=observers)
    learner.follow(rewiring)
    rewiring.step()
    stay = {place for place, slot in zip(places, maps[kind], strict=True) if slot >= 0}
    assert 0 < len(stay) < len(places)
    after = of_positions(learner, kind)
    for (place, unit), each in after.items():
        stays = place in stay and (place, unit) in before
        wanted = before[place, unit] if stays else torch.zeros_like(each)
        assert_close(each, wanted, rtol=0, atol=0)
    assert any(each.any() for each in after.values())
    learner.step(x[0])


def positions(weight):
    return weight.pattern.links.positions().tolist()


def of_positions(learner, kind):
    """Return the influence of each link on each unit for which it is kept."""
    places = positions(getattr(learner.network, kind))
    if isinstance(learner, online.RTRL):
        (each,) = learner._influence
        names = [member.name for member in each.entries.members]
        begin = sum(member.count for member in each.entries.members[: names.index(kind)])
        dense = each.parts[0].movedim(4, 2).flatten(1, 2)[:, begin:]
        return {(p, u): dense[:, e, :, u] for e, p in enumerate(places) for u in range(UNITS)}
    (each,) = [each for each in learner._influence if each.entries.name == kind]
    entry = each.entry.tolist() if hasattr(each, "entry") else range(len(places))
    unit = each.unit if hasattr(each, "unit") else each.entries.rows % UNITS
    pairs = zip(entry, unit.tolist(), strict=True)
    return {(places[e], u): each.parts[0][..., k] for k, (e, u) in enumerate(pairs)}


def test_gradient_growth_reads_the_gradient_of_each_step():
    network, (x, upstream, _) = make("lstm", num_layers=2), data()
    learner = online.SnAp(network)
    rewiring = RigL(network, None, steps=10, every=1, fraction=0.3)
    learner.follow(rewiring)
    learner.step(x[0])
    learner.backward(upstream[0])
    captured = {name: network.get_submodule(name).captured[-1] for name in rewiring.names}
    found = {name: sum(dy.T @ x for dy, x in pairs) for name, pairs in captured.items()}
    dense = network.to_dense()
    (dense(x[:1])[0] * upstream[0]).sum().backward()
    for name, each in found.items():
        assert_close(each, getattr(dense, name).grad)
    rewiring.step()
    learner.step(x[1])


def test_links_changed_by_hand_are_refused_until_truncation():
    network, (x, upstream, _) = make("rnn"), data()
    learner = online.RTRL(network)
    learner.step(x[0])
    SET(network, None, every=1).step()
    with pytest.raises(ValueError, match=r"links of the step before.*follow.*truncate"):
        learner.step(x[1])
    with pytest.raises(ValueError, match="links of the step before"):
        learner.backward(upstream[0])
    learner.truncate()
    learner.step(x[1])
    learner.backward(upstream[0])


@of_methods
def test_a_run_that_is_loaded_goes_on_bit_for_bit(method):
    network, (x, upstream, resets) = make("rnn", num_layers=2, dtype=torch.float32), data()
    x, upstream = x.float(), upstream.float()
    learner = method(network)
    by_steps(learner, x, upstream, resets)
    saved = {"network": network.state_dict(), "learner": learner.state_dict()}
    saved = {name: {k: copied(v) for k, v in each.items()} for name, each in saved.items()}
    other = make("rnn", num_layers=2, dtype=torch.float32)
    SET(other, None, every=1).step()
    resumed = method(other)
    other.load_state_dict(saved["network"])
    resumed.load_state_dict(saved["learner"])
    wanted, found = (by_steps(each, x, upstream) for each in (learner, resumed))
    assert_close(found, wanted, rtol=0, atol=0)


def copied(value):
    return value.clone() if isinstance(value, torch.Tensor) else value


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    network, (x, _, _) = make("rnn"), data()
    learner = online.SnAp(network)
    learner.step(x[0])
    state, before = learner.state_dict(), learner.state_dict()
    name = "influence.weight_hh_l0.0"
    for wrong, match in [
        ({**state, "links": ["0"]}, "other links"),
        ({**state, name: state[name][..., 1:]}, r"weight_hh_l0.0 of shape \[3, 1, 132\]"),
        ({**state, name: state[name].float()}, "float64"),
        ({**state, name: 1}, "found int"),
        ({**state, "other": state[name]}, r"a difference in \['other'\]"),
        ({k: v for k, v in state.items() if k != name}, "a difference"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=match):
            learner.load_state_dict(wrong)
    after = learner.state_dict()
    assert after.pop("links") == before.pop("links")
    assert_close(after, before, rtol=0, atol=0)


@of_methods
def test_memory_does_not_grow_with_the_number_of_steps(method):
    network, (x, upstream, _) = make("rnn"), data()
    learner = method(network)
    assert learner.memory == 0
    by_steps(learner, x[:2], upstream[:2])
    held, pointers = learner.memory, [each.data_ptr() for each in influence_parts(learner)]
    by_steps(learner, x, upstream)
    assert learner.memory == held > 0
    assert [each.data_ptr() for each in influence_parts(learner)] == pointers
    assert all(step.states[0].grad_fn is None for step in learner._steps)


def influence_parts(learner):
    return [part for each in learner._influence for part in each.parts]


def test_memory_is_that_of_the_documentation():
    network = SparseLSTM(1, 50, density=0.1, bias=False, input_density=0.5)
    links = sum(each.nnz for each in (network.weight_hh_l0, network.weight_ih_l0))
    x = torch.zeros(2, 1)
    for method in (online.SnAp, online.EProp):
        learner = method(network)
        learner.step(x)
        assert learner.memory == 4 * 2 * 2 * links, "4 bytes, 2 lanes, 2 states"
    learner, exact = online.RTRL(network), 4 * 2 * 2 * 50 * links
    learner.step(x)
    assert exact <= learner.memory <= exact + 4 * 2 * 2 * 50 * 2 * 64, "in panels of 64"


@pytest.mark.parametrize("form", ["rnn", "lstm", "gru"])
def test_influence_in_bfloat16_takes_half_of_the_memory(form):
    """Each entry is rounded to within 2^-8 of itself at each step, and the first not at all."""
    network, (x, upstream, resets) = make(form, dtype=torch.float32), data()
    x, upstream = x.float(), upstream.float()
    whole, half = online.RTRL(network), online.RTRL(network, storage=torch.bfloat16)
    for steps, bound in [(1, 1e-6), (len(x), 2**-6)]:
        _, wanted = by_steps(whole, x[:steps], upstream[:steps], resets[:steps])
        _, found = by_steps(half, x[:steps], upstream[:steps], resets[:steps])
        for name, each in wanted.items():
            assert (found[name] - each).norm() <= bound * each.norm(), name
        whole.truncate(), half.truncate()
    assert any((found[name] != each).any() for name, each in wanted.items())
    assert half.memory == whole.memory / 2
    half.step(x[0])
    half.backward(upstream[0])
    first = gradients(network)
    half.backward(upstream[0])  # after the influence was carried over the step
    assert_close(gradients(network), first, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("form", "options", "storage", "match"),
    [
        ("rnn", {"dtype": torch.float32}, torch.float16, "None or torch.bfloat16, found torch.fl"),
        ("rnn", {"dtype": torch.float64}, torch.bfloat16, "float32 .*found torch.float64"),
        ("rnn", {"dtype": torch.float32, "num_layers": 2}, torch.bfloat16, "one layer .*found 2"),
        ("rhn", {"dtype": torch.float32}, torch.bfloat16, "one product .*SparseRHN"),
    ],
)
def test_storage_that_is_not_there_is_refused(form, options, storage, match):
    with pytest.raises(ValueError, match=match):
        online.RTRL(make(form, **options), storage=storage)


@pytest.mark.parametrize(("form", "biases"), [("rnn", 1), ("lstm", 1), ("gru", 2)])
def test_biases_that_enter_one_sum_share_their_influence(form, biases):
    """Of a GRU they do not: the reset gate multiplies one of them."""
    learner = online.SnAp(make(form))
    learner.step(data()[0][0])
    assert sum("bias" in name for name in learner.state_dict()) == biases


def test_a_stream_is_learned_while_it_is_rewired():
    """Whether the sign of the input two steps ago was positive: no single step knows."""
    torch.manual_seed(0)
    network, readout = SparseRNN(1, 40, density=0.1), nn.Linear(40, 1)
    optimizer = torch.optim.Adam([*network.parameters(), *readout.parameters()], 5e-3)
    rewiring, learner = SET(network, optimizer, every=50), online.SnAp(network, 2)
    learner.follow(rewiring)
    x = torch.randn(600, 16, 1).sign()
    losses = []
    for t in range(2, 600):
        optimizer.zero_grad()
        loss = (readout(learner.step(x[t])) - x[t - 2]).square().mean()
        learner.backward(loss)
        optimizer.step()
        rewiring.step()
        losses.append(loss.item())
    assert sum(losses[-50:]) / 50 < 0.3 < 0.7 < sum(losses[:20]) / 20


def test_two_losses_of_one_step_add_up():
    network, (x, upstream, _) = make("rnn"), data()
    learner = online.RTRL(network)
    y = learner.step(x[0])
    learner.backward((y * upstream[0]).sum())
    learner.backward((y * upstream[1]).sum())
    found = gradients(network)
    learner = online.RTRL(network)
    learner.step(x[0])
    learner.backward(upstream[0] + upstream[1])
    assert_close(found, gradients(network))


def test_losses_that_have_no_gradient_here_are_refused():
    network, (x, _, _) = make("rnn"), data()
    learner = online.RTRL(network)
    with pytest.raises(ValueError, match="a step before the backward pass"):
        learner.backward(torch.tensor(1.0))
    first = learner.step(x[0])
    with pytest.raises(ValueError, match=r"one number, .*\[3, 21\], found shape \[3\]"):
        learner.backward(first.sum(1))
    with pytest.raises(ValueError, match="output of the last step, found another"):
        learner.backward(network(x)[0].sum())
    last = learner.step(x[1])
    with pytest.raises(ValueError, match="one of a step before"):
        learner.backward((first + last).sum())
    with torch.no_grad():
        assert not learner.step(x[2]).requires_grad


@pytest.mark.parametrize(
    ("options", "given", "match"),
    [
        ({}, {"x": torch.zeros(3, INPUTS + 1)}, r"\[batch, 6\].*found \[3, 7\]"),
        ({}, {"x": torch.zeros(3, INPUTS).double()}, "float64"),
        ({}, {"x": torch.zeros(INPUTS)}, r"\[batch, 6\]"),
        ({}, {"x": torch.zeros(2, 3, INPUTS)}, r"\[batch, 6\]"),
        ({}, {"x": torch.zeros(3, INPUTS, requires_grad=True)}, "without a gradient"),
        ({}, {"x": [1.0]}, "a tensor"),
        ({}, {"resets": torch.zeros(2)}, r"resets of shape \[3\]"),
        ({}, {"timespans": 1.0}, "no timespans for SparseRNN"),
    ],
)
def test_bad_inputs_of_a_step(options, given, match):
    learner = online.RTRL(make("rnn", torch.float32, **options))
    with pytest.raises((ValueError, TypeError), match=match):
        learner.step(**{"x": torch.zeros(3, INPUTS), **given})


@pytest.mark.parametrize(
    ("form", "options", "match"),
    [
        ("rnn", {"bidirectional": True}, "bidirectional"),
        ("rnn", {"num_layers": 2, "dropout": 0.1}, "no dropout in training, found 0.1"),
        ("gru", {"zoneout": 0.1}, "no zoneout in training"),
        ("rhn", {"recurrent_dropout": 0.1}, "no recurrent_dropout in training"),
        ("rate_rnn", {"sigma": 0.1}, "sigma = 0"),
        ("rnn", {"device": "meta"}, "on the CPU .*on meta"),
    ],
)
def test_networks_that_cannot_learn_online(form, options, match):
    with pytest.raises(ValueError, match=match):
        online.RTRL(make(form, **options))


def test_dropout_that_is_switched_on_later_is_refused():
    network = make("rnn", num_layers=2, dropout=0.1).eval()
    learner = online.RTRL(network)
    learner.step(data()[0][0])
    network.train()
    with pytest.raises(ValueError, match="dropout"):
        learner.step(data()[0][0])


def test_parameters_of_two_networks_are_refused():
    one, other = make("rnn"), make("rnn")
    learner = online.SnAp(one)
    online.RTRL(one)
    other.bias_ih_l0 = one.bias_ih_l0
    with pytest.raises(ValueError, match="bias_ih_l0 of another"):
        online.SnAp(other)
    one.bias_hh_l0 = one.bias_ih_l0
    with pytest.raises(ValueError, match="shared with"):
        online.SnAp(one)
    assert repr(learner) == "SnAp(SparseRNN, 0 bytes)"


def test_only_recurrent_networks_learn_online():
    with pytest.raises(TypeError, match="found Linear; a readout goes by autograd"):
        online.RTRL(nn.Linear(2, 2))
