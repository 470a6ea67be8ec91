"""Spiking networks: exact solutions, times of spikes, and gradients by surrogates."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close

from sparse_engine.nn import (
    AlphaSynapse,
    ATan,
    ExponentialSynapse,
    SparseLIF,
    SparseWeight,
    SuperSpike,
    Surrogate,
    Triangle,
)

SYNAPSES = [
    ExponentialSynapse(5.0),
    ExponentialSynapse(20.0),
    AlphaSynapse(3.0),
    AlphaSynapse(20.0),
]


def lone(count=1, **options):
    """Units that are not connected, each driven by an input of its own."""
    like = {"dtype": torch.float64, "bias": False, "density": 1e-9}
    network = SparseLIF(count, count, **like, **options)
    with torch.no_grad():
        network.weight_ih_l0.copy_(torch.eye(count))
    return network


def pulses(steps, *times, size=1.0):
    x = torch.zeros(steps, 1, dtype=torch.float64)
    x[list(times)] = size
    return x


@pytest.mark.parametrize("synapse", SYNAPSES)
def test_potentials_are_the_exact_solution(synapse):
    """By the matrix exponential of the differential equations, equal time constants included."""
    tau, resistance, dt, alpha = 20.0, 3.0, 0.7, isinstance(synapse, AlphaSynapse)
    network = lone(tau_membrane=tau, synapse=synapse, resistance=resistance, threshold=1e9, dt=dt)
    of = torch.zeros(3, 3, dtype=torch.float64)  # potential, current, rise
    of[0, 0], of[0, 1] = -1 / tau, resistance / tau
    of[1, 1] = of[2, 2] = -1 / synapse.tau
    of[1, 2] = 1 / synapse.tau if alpha else 0
    start = torch.eye(3, dtype=torch.float64)[2 if alpha else 1]
    for steps in (1, 2, 40):
        _, (_, v, i, *_) = network(pulses(steps, 0))
        wanted = torch.linalg.matrix_exp(steps * dt * of) @ start
        assert_close(torch.stack([v[0, 0], i[0, 0]]), wanted[:2], rtol=1e-12, atol=1e-15)


def test_a_unit_rests_for_its_refractory_time_and_ignores_what_arrives():
    fast = {"tau_membrane": 1.0, "synapse": ExponentialSynapse(0.01), "resistance": 1000.0}
    x = pulses(12, *range(12), size=10.0)
    for refractory in (0, 1, 3):
        spikes, _ = lone(refractory=refractory, **fast)(x)
        assert spikes.flatten().tolist() == [float(t % (refractory + 1) == 0) for t in range(12)]
        # What arrives up to the end is dropped: one step more, in which the unit has no input.
        spikes, _ = lone(refractory=refractory, keeps_current=False, **fast)(x)
        assert spikes.flatten().tolist() == [float(t % (refractory + 2) == 0) for t in range(12)]


def test_a_current_is_kept_or_cleared():
    for keeps in (True, False):
        network = lone(synapse=AlphaSynapse(5.0), keeps_current=keeps, refractory=2)
        y, (_, v, i, g, rests) = network(pulses(4, 0, size=10.0))
        first = int(y.flatten().argmax())
        assert y.sum() == 1 and first < 3
        assert v == 0 and rests == 3 - (3 - first)
        assert bool(i != 0) == bool(g != 0) == keeps


@pytest.mark.parametrize("delay", [1, 2, 7])
def test_spikes_arrive_after_the_delay(delay):
    """The second unit spikes as soon as the spike of the first arrives; a state goes on midway."""
    links = SparseWeight.from_dense(torch.tensor([[0.0, 0.0], [50.0, 0.0]], dtype=torch.float64))
    network = lone(2, delay=delay, refractory=40)
    network.weight_hh_l0 = links
    x = torch.zeros(20, 2, dtype=torch.float64)
    x[3, 0] = 50
    y, _ = network(x)
    assert y.nonzero().tolist() == [[3, 0], [3 + delay, 1]]
    first, state = network(x[:5])
    second, _ = network(x[5:], state)
    assert torch.equal(torch.cat([first, second]), y)


SLOPES = {
    SuperSpike(3.0): lambda u: 1 / (1 + 3 * abs(u)) ** 2,
    ATan(3.0): lambda u: 1 / (1 + (3 * u) ** 2),
    Triangle(3.0): lambda u: max(0.0, 1 - 3 * abs(u)),
}


@pytest.mark.parametrize("surrogate", SLOPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spikes_are_0_and_1_with_the_gradient_of_the_paper(surrogate, dtype):
    u = torch.tensor([-1e30, -2.0, -0.25, -1e-6, 0.0, 0.1, 0.3, 5.0, 1e30], dtype=dtype)
    u.requires_grad_()
    spikes = surrogate(u)
    assert spikes.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    spikes.sum().backward()
    wanted = [SLOPES[surrogate](each) for each in u.tolist()]
    assert_close(u.grad, torch.tensor(wanted, dtype=dtype))


@dataclass(frozen=True)
class Smooth(Surrogate):
    """A spike that is the smooth function itself, whose gradient finite differences find."""

    def __call__(self, u):
        return torch.sigmoid(self.scale * u)


@pytest.mark.parametrize("synapse", SYNAPSES[::2])
@pytest.mark.parametrize("keeps_current", [True, False])
def test_gradients_of_smooth_spikes(synapse, keeps_current):
    options = {"synapse": synapse, "keeps_current": keeps_current, "surrogate": Smooth(2.0)}
    torch.manual_seed(2)
    network = SparseLIF(
        2, 5, density=0.5, delay=2, refractory=1, resistance=60.0, dtype=torch.float64, **options
    )
    x = torch.randn(6, 2, 2, dtype=torch.float64, requires_grad=True)
    values = network.weight_hh_l0.values.detach().clone().requires_grad_()

    def run(x, values):
        y, (_, v, i, *_) = torch.func.functional_call(
            network, {"weight_hh_l0.values": values}, (x,)
        )
        return y, v, i

    y, *_ = run(x, values)
    assert (y > 0.5).any() and (y < 0.5).any()  # resets and refractory steps, too
    torch.autograd.gradcheck(run, (x, values))


def test_a_network_learns_when_to_spike():
    torch.manual_seed(0)
    network = SparseLIF(4, 40, density=0.2)
    readout = torch.nn.Linear(40, 2)
    optimizer = torch.optim.Adam([*network.parameters(), *readout.parameters()], lr=0.01)
    x = (torch.rand(20, 32, 4) < 0.3).float()
    wanted = (x[:10, :, 0].sum(0) > x[10:, :, 1].sum(0)).long()
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(readout(network(x)[0].mean(0)), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.filterwarnings("ignore")  # of Brian2's parser
def test_spike_for_spike_as_in_brian2():
    """The model of Shiu et al. 2024, potentials in mV and times in ms, with spikes as inputs."""
    brian = pytest.importorskip("brian2", exc_type=Exception)  # some do not go with this NumPy
    units, inputs, steps, mv = 300, 40, 1500, 0.275
    draw = torch.Generator().manual_seed(3)
    network = SparseLIF(
        inputs,
        units,
        density=0.1,
        input_density=0.2,
        bias=False,
        dtype=torch.float64,
        generator=draw,
        resistance=1.0,
        threshold=7.0,
        refractory=21,
        delay=19,
        keeps_current=False,
        dt=0.1,
    )
    with torch.no_grad():
        for weight, most in ((network.weight_hh_l0, 30), (network.weight_ih_l0, 80)):
            counts = torch.randint(1, most, (weight.nnz,), generator=draw)
            signs = torch.where(torch.rand(weight.nnz, generator=draw) < 0.3, -1, 1)
            weight.values.copy_(mv * counts * signs)
    x = (torch.rand(steps, 1, inputs, generator=draw) < 0.01).double()
    found = network(x)[0][:, 0].nonzero()
    assert len(found) > 1000

    brian.prefs.codegen.target = "numpy"
    brian.start_scope()
    brian.defaultclock.dt = 0.1 * brian.ms
    group = brian.NeuronGroup(
        units,
        """dv/dt = (g - v) / (20*ms) : 1 (unless refractory)
        dg/dt = -g / (5*ms) : 1 (unless refractory)""",
        threshold="v > 7",
        reset="v = 0; g = 0",
        refractory=2.2 * brian.ms,
        method="exact",
    )
    at, source = x[1:, 0].nonzero().T.numpy()  # what arrives in one step counts from the next on
    given = brian.SpikeGeneratorGroup(inputs, source, at * 0.1 * brian.ms)
    parts = [group, given, spikes := brian.SpikeMonitor(group)]
    delays = (network.delay - 1) * 0.1 * brian.ms, 0 * brian.ms
    weights = network.weight_hh_l0, network.weight_ih_l0
    for origin, weight, delay in zip((group, given), weights, delays, strict=True):
        links = brian.Synapses(origin, group, "w : 1", on_pre="g += w", delay=delay)
        links.connect(i=weight.col_indices.numpy(), j=weight.rows().numpy())
        links.w = weight.values.detach().numpy()
        parts.append(links)
    assert not x[0].any()
    brian.Network(*parts).run(steps * 0.1 * brian.ms)
    times = (spikes.t / (0.1 * brian.ms)).round().astype(int)
    wanted = sorted(zip(times.tolist(), spikes.i[:].tolist(), strict=True))
    assert [tuple(each) for each in found.tolist()] == wanted


def test_options_that_do_not_fit():
    with pytest.raises(ValueError, match=r"threshold above the reset, found 1\.0 and 1\.5"):
        SparseLIF(3, 4, density=0.5, reset=1.5)
    with pytest.raises(TypeError, match=r"surrogate to be a Surrogate, found <built-in"):
        SparseLIF(3, 4, density=0.5, surrogate=torch.sigmoid)
    for make, name in ((SuperSpike, "scale"), (AlphaSynapse, "tau of a synapse")):
        for wrong in (0.0, math.inf, math.nan, "5"):
            with pytest.raises(ValueError, match=f"expected finite {name} > 0, found"):
                make(wrong)
