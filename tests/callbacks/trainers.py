"""A training by each library, and the same by hand: each takes and returns the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from sparse_engine.nn import SparseRNN
from sparse_engine.topology import Rewiring

BATCH, BATCHES = 4, 4
OPTIMIZER = partial(torch.optim.Adam, lr=0.01)


class Network(nn.Module):
    """A recurrent network with a readout. Given labels, it returns its loss, too, as transformers'
    Trainer asks for."""

    #: Numbers of the forward passes whose outputs are infinite.
    overflows: frozenset[int] = frozenset()

    def __init__(self):
        super().__init__()
        self.calls = 0
        generator = torch.Generator().manual_seed(3)
        self.rnn = SparseRNN(3, 24, density=0.3, batch_first=True, generator=generator)
        self.readout = nn.Linear(24, 2)
        with torch.no_grad():
            self.readout.weight.uniform_(-0.2, 0.2, generator=generator)
            self.readout.bias.zero_()

    def forward(self, x, labels=None):
        y = self.readout(self.rnn(x)[0][:, -1])
        if self.calls in self.overflows:
            y = y * torch.inf
        self.calls += 1
        if labels is None:
            return y
        return {"loss": nn.functional.mse_loss(y, labels), "logits": y}


def scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=8.0)


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    shape = BATCH * BATCHES, 5, 3
    return torch.randn(shape, generator=generator), torch.randn(shape[0], 2, generator=generator)


@dataclass
class Trained:
    """End of a training; ``figures`` are the numbers in the trainer's log."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    rewiring: Rewiring | None = None
    figures: list[dict[str, float]] = field(default_factory=list)

    @property
    def state(self) -> dict:
        """The rewiring's state, as the optimizer has it."""
        return self.optimizer.state_dict()["param_groups"][0]["rewiring"]


def by_hand(method, *, epochs, accumulate=1):
    model = Network()
    optimizer = OPTIMIZER(model.parameters())
    rewiring = method(model, optimizer)
    x, y = data()
    batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True)) * epochs
    figures = []
    for number, (inputs, targets) in enumerate(batches, 1):
        if model.calls in model.overflows:
            model.calls += 1
            continue
        (nn.functional.mse_loss(model(inputs), targets) / accumulate).backward()
        if number % accumulate == 0:
            optimizer.step()
            before = {*model.rnn.weight_hh_l0.pattern.links.positions().tolist()}
            if rewiring.step():
                weight = model.rnn.weight_hh_l0
                now = {*weight.pattern.links.positions().tolist()}
                shown = weight.nnz, weight.density, len(now - before) / weight.nnz
                figures.append(dict(zip(("nnz", "density", "turnover"), shown, strict=True)))
            optimizer.zero_grad()
    trained = Trained(model, optimizer, rewiring, figures)
    optimizer.param_groups[0]["rewiring"] = rewiring.state_dict()
    return trained


def lightning(method, *, epochs, folder, accumulate=1, resume=False, scaled=False):
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import ModelCheckpoint

    from sparse_engine.callbacks.lightning import Rewire

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = Network()

        def configure_optimizers(self):
            return OPTIMIZER(self.parameters())

        def training_step(self, batch):
            return nn.functional.mse_loss(self.network(batch[0]), batch[1])

    class Scaled(pl.plugins.MixedPrecision):
        """A scaler without autocast."""

        def forward_context(self):
            return nullcontext()

    class Log(pl.loggers.logger.DummyLogger):
        def log_metrics(self, metrics, step=None):
            if "rewiring/nnz" in metrics:
                figures.append(metrics)

    figures: list[dict[str, float]] = []
    module = Module()
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=Log(),
        max_epochs=epochs,
        accumulate_grad_batches=accumulate,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        plugins=[Scaled("16-mixed", "cpu", scaler())] if scaled else None,
        callbacks=[Rewire(method), ModelCheckpoint(folder, save_last=True)],
    )
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), BATCH)
    trainer.fit(module, batches, ckpt_path=folder / "last.ckpt" if resume else None)
    return Trained(module.network, trainer.optimizers[0], None, figures)


def transformers(method, *, epochs, folder, accumulate=1, resume=False, scaled=False):
    from transformers import Trainer, TrainingArguments

    from sparse_engine.callbacks.huggingface import Rewire

    model = Network()
    optimizer = OPTIMIZER(model.parameters())
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=accumulate,
        train_sampling_strategy="sequential",
        max_grad_norm=0,
        save_strategy="epoch",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    x, y = data()
    examples = [{"x": each, "labels": target} for each, target in zip(x, y, strict=True)]
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    trainer = Trainer(model, arguments, train_dataset=examples, optimizers=(optimizer, constant))
    trainer.add_callback(Rewire(method, trainer.log))
    if scaled:
        trainer.accelerator.scaler = scaler()
    trainer.train(resume_from_checkpoint=resume or None)
    figures = [each for each in trainer.state.log_history if "rewiring/nnz" in each]
    return Trained(model, optimizer, None, figures)


def accelerate(method, *, epochs, folder, accumulate=1, resume=False, scaled=False):
    from accelerate import Accelerator
    from accelerate.tracking import GeneralTracker

    from sparse_engine.callbacks.accelerate import Rewire

    class Log(GeneralTracker):
        name = "log"
        requires_logging_directory = False
        tracker = None

        def __init__(self):
            super().__init__()
            self.figures = []

        def store_init_configuration(self, values):
            pass

        def log(self, values, step=None, **_):
            self.figures.append(values)

    log = Log()
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate, log_with=log)
    accelerator.init_trackers("test")
    if scaled:
        accelerator.scaler = scaler()
    network = Network()
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), BATCH)
    model, optimizer, batches = accelerator.prepare(
        network, OPTIMIZER(network.parameters()), batches
    )
    rewire = Rewire(method, model, optimizer, accelerator)
    begin = 0
    if resume:
        accelerator.load_state(str(folder / "state"))
        begin = epochs - 1
    for _ in range(begin, epochs):
        for inputs, targets in batches:
            with accelerator.accumulate(model):
                accelerator.backward(nn.functional.mse_loss(model(inputs), targets))
                optimizer.step()
                rewire.step()
                optimizer.zero_grad()
    accelerator.save_state(str(folder / "state"))
    return Trained(network, optimizer.optimizer, rewire.follower.rewiring, log.figures)


def skorch(method, *, epochs, folder, accumulate=1, resume=False):
    import skorch
    from skorch.callbacks import Checkpoint

    from sparse_engine.callbacks.skorch import Rewire

    class Accumulating(skorch.NeuralNet):
        """Accumulation of gradients as in skorch's documentation."""

        def train_step(self, batch, **fit_params):
            counted = getattr(self, "counted_", 0)
            if counted % accumulate == 0:
                self.optimizer_.zero_grad()
            step = self.train_step_single(batch, **fit_params)
            self.counted_ = counted + 1
            if self.counted_ % accumulate == 0:
                self.optimizer_.step()
            return step

        def get_loss(self, *args, **kwargs):
            return super().get_loss(*args, **kwargs) / accumulate

    checkpoint = Checkpoint(monitor=None, dirname=str(folder))
    net = skorch_net(
        [Rewire(method), checkpoint], skorch.NeuralNet if accumulate == 1 else Accumulating
    )
    if resume:
        net.load_params(checkpoint=checkpoint)
    net.partial_fit(*numpy_data(), epochs=1 if resume else epochs)
    return Trained(net.module_, net.optimizer_, None, list(net.history))


def skorch_net(callbacks, kind):
    net = kind(
        Network,
        nn.MSELoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        batch_size=BATCH,
        train_split=None,
        callbacks=callbacks,
        verbose=0,
    )
    return net.initialize()


def numpy_data():
    return [each.numpy() for each in data()]


#: The trainings by the names of what has to be installed.
TRAINERS: dict[str, Callable[..., Trained]] = {
    each.__name__: each for each in (lightning, transformers, accelerate, skorch)
}


def assert_same(found, expected):
    """Links, values, optimizer state and the rewiring's state have the same bits."""
    expected_state = expected.model.state_dict()
    for name, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, expected_state[name]), name
    assert_same_entries(found.state, expected.state)
    moments = [
        [entry for state in each.optimizer.state.values() for entry in state.values()]
        for each in (found, expected)
    ]
    assert len(moments[0]) == 3 * len(list(found.model.parameters()))
    assert all(map(torch.equal, *moments))


def assert_same_entries(found, expected):
    assert found.keys() == expected.keys()
    for name, entry in expected.items():
        same = torch.equal if torch.is_tensor(entry) else lambda a, b: a == b
        assert same(found[name], entry), name
