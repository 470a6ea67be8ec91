"""Models for sequences: what is read out of which state, and initial values."""

import pytest
import torch

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.models import SequenceModel
from sparse_engine.nn import SparseRNN


def model(**options):
    generator = torch.Generator().manual_seed(0)
    recurrent = SparseRNN(3, 20, density=0.3, generator=generator)
    return SequenceModel(recurrent, 4, generator=generator, **options)


def test_last_state_or_every_state_is_read_out():
    x = torch.randn(6, 5, 3)
    last, every = model(), model(every_step=True)
    assert last(x).shape == (5, 4) and every(x).shape == (6, 5, 4)
    torch.testing.assert_close(last(x), every(x)[-1])


def test_a_padded_sequence_is_read_out_at_its_own_end():
    x, lengths = torch.randn(6, 5, 3), torch.tensor([1, 6, 3, 2, 5])
    network = model()
    found = network(x, lengths)
    for k, length in enumerate(lengths):
        torch.testing.assert_close(found[k], network(x[:length, [k]])[0])


@pytest.mark.parametrize("std", [1.0, 0.1])
def test_readout_weights_are_normal_if_wanted(std):
    recurrent = SparseRNN(3, 500, density=0.01)
    generator = torch.Generator().manual_seed(0)
    readout = SequenceModel(recurrent, 50, readout_std=std, generator=generator).readout
    assert readout.weight.std().item() == pytest.approx(std, rel=0.02)
    assert readout.weight.abs().max() > 3 * std and not readout.bias.any()


def test_a_task_passes_the_readout_on():
    from sparse_engine.lab.tasks import Adding

    network = RecurrentNetwork(hidden=500, density=0.01, readout_std=2.0, input_std=0.5)
    built = Adding().build(network, generator=torch.Generator().manual_seed(0))
    assert built.readout.weight.std().item() == pytest.approx(2.0, rel=0.1)
    assert built.recurrent.weight_ih_l0.std().item() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("density", [0.05, 1.0])
def test_unscaled_weights_do_not_depend_on_the_density(density):
    network = RecurrentNetwork(hidden=300, density=density, gain=1.5, unscaled=True)
    weight = network.recurrent(3, generator=torch.Generator().manual_seed(0)).weight_hh_l0
    std = weight.values.std().item()
    assert std == pytest.approx(1.5 / (3 * 300) ** 0.5, rel=0.05)


def test_step_dropout_drops_whole_steps_in_training():
    network = model(step_dropout=0.4)
    seen = []
    network.recurrent.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = torch.rand(50, 40, 3) + 1
    network(x)
    network.eval()(x)
    dropped = (seen[0] == 0).all(2)
    assert dropped.double().mean() == pytest.approx(0.4, abs=0.05)
    torch.testing.assert_close(seen[0][~dropped], x[~dropped] / 0.6)
    assert torch.equal(seen[1], x)
    with pytest.raises(ValueError, match=r"step_dropout in \[0, 1\], found 1\.5"):
        model(step_dropout=1.5)


def test_conductances_keep_their_own_initial_values():
    network = RecurrentNetwork(cell="ltc", hidden=14, input_std=1.0, unscaled=True).recurrent(
        3, generator=torch.Generator().manual_seed(0)
    )
    assert (network.weight_ih_l0.values > 0).all() and (network.weight_hh_l0.values > 0).all()
