"""The experiments of Selfish-RNN, with tiny texts and networks."""

import pytest

from sparse_engine.lab.experiments import EXPERIMENTS, Plan
from sparse_engine.lab.tasks import PennTreebank
from sparse_engine.lab.train import Run
from sparse_engine.nn import SparseWeight
from sparse_engine.optim import SNTASGD
from sparse_engine.topology import Selfish

TINY = {
    "batch_size": 3,
    "bptt": 6,
    "evaluation_streams": 2,
    "embedding": 20,
    "hidden": 20,
    "last": 20,
    "steps": 4,
    "every": 2,
    "evaluate_every": 2,
}
#: Published densities, learning rates, first fractions and numbers of epochs.
FLAGS = {
    "selfish-lstm": (0.33, 40, 0.8, 100),
    "selfish-rhn": (0.472, 15, 0.5, 500),
    "selfish-on-lstm": (0.45, 30, 0.5, 1000),
    "selfish-mixture": (0.45, 15, 0.5, 1000),
}


@pytest.fixture
def texts(tmp_path):
    for name, lines in (("train", 12), ("valid", 12), ("test", 6)):
        text = "the cat sat on the mat and a dog ran\n" * lines
        (tmp_path / f"{name}.txt").write_text(text)
        (tmp_path / f"wiki.{name}.tokens").write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", FLAGS)
def test_published_model_is_trained_by_its_published_flags(name, texts, tmp_path):
    (variant,) = EXPERIMENTS[name].variants
    config = variant.config()
    found = (
        config.network.density,
        config.optimization.learning_rate,
        config.method.fraction,
        config.steps / config.method.every,
    )
    assert found == FLAGS[name]
    assert config.optimization.clip_norm == 0.25 and config.optimization.clip_value is None
    assert config.evaluate_every == config.method.every
    assert config.network.gain == pytest.approx(config.network.density**0.5, abs=1e-3)
    run = Run(tmp_path / "run", config.replaced(data=texts, **TINY))
    assert isinstance(run.rewiring, Selfish) and isinstance(run.optimizer, SNTASGD)
    matrices = [name for name, p in run.model.named_parameters() if "bias" not in name]
    weights = [module for module in run.model.modules() if isinstance(module, SparseWeight)]
    assert len(matrices) == len(weights) == len(run.rewiring.weights), "every matrix is sparse"
    result = run.train(progress=False)
    assert result.finished and result.best["test"]["perplexity"] > 1
    assert set(variant.published) == {q.name for q in EXPERIMENTS[name].quantities}


def test_small_experiment_compares_sparse_with_dense(texts, tmp_path):
    experiment = EXPERIMENTS["selfish-small"]
    plan = Plan(tmp_path / "runs", seeds=[0], workers=1, settings={"data": texts, **TINY})
    rows = experiment.rows(plan)
    assert [row.variant for row in rows[::2]] == [variant.name for variant in experiment.variants]
    assert [len(row.values) for row in rows] == [1] * 10
    sizes = [variant.config().replaced(data=texts, **TINY) for variant in experiment.variants]
    assert {config.task for config in sizes} == {sizes[0].task}
    assert all(isinstance(config.task, PennTreebank) and config.task.small for config in sizes)
    assert len({config.optimization.learning_rate for config in sizes}) == 1
