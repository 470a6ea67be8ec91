"""Lightning's own cases: several optimizers, optimization by hand, and a Trainer used again."""

from functools import partial

import pytest
import torch
from callbacks.trainers import BATCH, Network, data
from torch import nn

from sparse_engine.topology import SET

pytestmark = pytest.mark.filterwarnings("ignore")
METHOD = partial(SET, every=3)


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
