"""Rewiring within the trainers of other libraries equals a loop by hand; what each has alone."""

import pickle
from functools import partial

import pytest
import torch
from callbacks.trainers import (
    BATCH,
    TRAINERS,
    Network,
    Trained,
    assert_same,
    by_hand,
    data,
    numpy_data,
    skorch_net,
)
from torch import nn

from sparse_engine import topology

# The libraries warn of what they cannot find, of few workers, and of their own past.
pytestmark = pytest.mark.filterwarnings("ignore")

METHODS = {
    "SET": partial(topology.SET, fraction=0.3, every=3, new_links=topology.NormalInit(0.1)),
    "RigL": partial(topology.RigL, steps=100, every=3),
    "GradualPruning": partial(topology.GradualPruning, start=0.3, density=0.1, last=12, every=3),
}


def tracked(method):
    """The method with a rule that has a memory of every link ever used."""

    def make(model, optimizer):
        rewiring = method(model, optimizer)
        topology.Tracker(rewiring)
        return rewiring

    return make


@pytest.fixture(params=TRAINERS)
def trainer(request):
    pytest.importorskip(request.param)
    return TRAINERS[request.param]


@pytest.mark.parametrize(("method", "accumulate"), [("SET", 1), ("RigL", 2), ("GradualPruning", 1)])
def test_a_trainer_equals_a_loop_by_hand(trainer, method, accumulate, tmp_path):
    """Its log has every rewiring."""
    options = {"epochs": 3, "accumulate": accumulate}
    found = trainer(METHODS[method], folder=tmp_path, **options)
    expected = by_hand(METHODS[method], **options)
    assert expected.rewiring.steps_taken == 12 // accumulate
    assert expected.model.rnn.weight_hh_l0.topology_version == 4 // accumulate
    assert_same(found, expected)
    if method == "GradualPruning":
        first, *others = figures = expected.figures
        assert len(figures) == 4 and others[-1]["nnz"] < first["nnz"]
        prefix = "" if trainer is TRAINERS["skorch"] else "rewiring/"
        shown = [{name: each[f"{prefix}{name}"] for name in first} for each in found.figures]
        # A row of skorch is that of an epoch, in which the last number counts.
        assert shown == ([first, others[0], others[2]] if not prefix else figures)


# The checkpoint of the last is within the steps whose gradients it has captured.
RESUMED = METHODS | {"SNFS": partial(topology.SNFS, steps=20, every=5, window=5)}


@pytest.mark.parametrize("method", ["SNFS", "GradualPruning"])
def test_resuming_equals_never_having_stopped(trainer, method, tmp_path):
    method = tracked(RESUMED[method])
    trainer(method, epochs=2, folder=tmp_path)
    resumed = trainer(method, epochs=3, folder=tmp_path, resume=True)
    assert_same(resumed, by_hand(method, epochs=3))


@pytest.mark.parametrize("name", [name for name in TRAINERS if name != "skorch"])
def test_a_skipped_step_does_not_count(name, tmp_path, monkeypatch):
    pytest.importorskip(name)
    # The last is the one before a rewiring, whose infinite gradient is not to grow links.
    monkeypatch.setattr(Network, "overflows", frozenset({0, 4}))
    found = TRAINERS[name](METHODS["RigL"], epochs=3, folder=tmp_path, scaled=True)
    expected = by_hand(METHODS["RigL"], epochs=3)
    assert expected.rewiring.steps_taken == 10
    assert_same(found, expected)


@pytest.fixture
def skorch():
    return pytest.importorskip("skorch")


def rewiring_net(*callbacks):
    from skorch import NeuralNet

    from sparse_engine.callbacks.skorch import Rewire

    return skorch_net([Rewire(METHODS["SET"]), *callbacks], NeuralNet)


def trained(net):
    return Trained(net.module_, net.optimizer_)


@pytest.mark.parametrize("when", ["within", "after", "never"])
def test_a_pickled_net_continues(when, tmp_path, skorch):
    checkpoint = skorch.callbacks.Checkpoint(
        monitor=None, dirname=str(tmp_path), f_pickle="net.pkl"
    )
    net = rewiring_net(checkpoint)
    net.partial_fit(*numpy_data(), epochs=2)
    if when == "within":
        net = pickle.loads((tmp_path / "net.pkl").read_bytes())
    elif when == "after":
        net = pickle.loads(pickle.dumps(net))
    net.partial_fit(*numpy_data(), epochs=1)
    assert_same(trained(net), by_hand(METHODS["SET"], epochs=3))


def test_fitting_again_begins_again(skorch):
    net = rewiring_net().set_params(max_epochs=2)
    net.fit(*numpy_data()).fit(*numpy_data())
    assert_same(trained(net), by_hand(METHODS["SET"], epochs=2))


def test_a_clone_has_the_settings_and_no_rewiring(skorch):
    base = pytest.importorskip("sklearn.base")
    net = rewiring_net().partial_fit(*numpy_data(), epochs=1)
    cloned = base.clone(net)
    assert [*cloned.callbacks[0].get_params()] == ["method"]
    assert_same(
        trained(cloned.partial_fit(*numpy_data(), epochs=2)), by_hand(METHODS["SET"], epochs=2)
    )


METHOD = partial(topology.SET, every=3)


# Lightning takes seconds to import, which those who run other tests need not wait for.
@pytest.fixture(scope="module")
def rewire():
    """The callback."""
    pytest.importorskip("lightning.pytorch")
    from sparse_engine.callbacks.lightning import Rewire

    return Rewire


def two_networks():
    """Two networks with an optimizer each; the second takes two steps in each batch."""
    from lightning.pytorch import LightningModule

    class Two(LightningModule):
        automatic_optimization = False

        def __init__(self):
            super().__init__()
            self.dense, self.sparse = nn.Linear(3, 2), Network()

        def configure_optimizers(self):
            both = (self.dense, self.sparse)
            return [torch.optim.SGD(each.parameters(), lr=0.1) for each in both]

        def training_step(self, batch):
            x, y = batch
            once, twice = self.optimizers()
            for optimizer, model in [(once, self.dense), *2 * [(twice, self.sparse)]]:
                optimizer.zero_grad()
                outputs = model(x[:, -1] if model is self.dense else x)
                self.manual_backward(nn.functional.mse_loss(outputs, y))
                optimizer.step()

    return Two()


def fit(module, callback, folder, **options):
    from lightning.pytorch import Trainer

    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        max_epochs=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        callbacks=[callback],
    )
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), BATCH)
    trainer.fit(module, batches, **options)
    return trainer


def test_the_steps_are_those_of_the_optimizer_that_was_named(rewire, tmp_path):
    module = two_networks()
    fit(module, rewire(METHOD, optimizer=1), tmp_path)
    assert module.sparse.rnn.weight_hh_l0.topology_version == 8 // 3


def test_a_trainer_saves_the_rewiring_after_training_too(rewire, tmp_path):
    trainer = fit(two_networks(), rewire(METHOD, optimizer=1), tmp_path)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    states = torch.load(tmp_path / "end.ckpt", weights_only=True)["optimizer_states"]
    assert "rewiring" not in states[0]["param_groups"][0]
    assert states[1]["param_groups"][0]["rewiring"] == {"steps": 8, "seed": 0}


def test_a_number_of_no_optimizer_is_refused(rewire, tmp_path):
    with pytest.raises(ValueError, match="number of one of 2 optimizers, found 2"):
        fit(two_networks(), rewire(METHOD, optimizer=2), tmp_path)
