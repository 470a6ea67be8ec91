"""Properties of every task of the registry, on tiny data."""

import dataclasses
import json
import math

import pytest
import torch
from lab.tasks.layouts import put_aeon, tiny_task

from sparse_engine.lab.networks import MLPNetwork
from sparse_engine.lab.tasks import TASKS, Step, Supervised
from sparse_engine.lab.tasks.features import FeatureClassification, Reconstruction
from sparse_engine.lab.train import Config, Run

NAMES = sorted(TASKS)


@pytest.fixture(scope="module", params=NAMES)
def task(request, tmp_path_factory):
    """Each task, which reads its files once."""
    with pytest.MonkeyPatch.context() as patch:
        put_aeon(patch)
        yield tiny_task(tmp_path_factory.mktemp("data"), request.param)


def build(task, seed=0):
    names = {field.name for field in dataclasses.fields(task.network)}
    sizes = {name: 12 for name in {"hidden", "embedding"} & names}
    if task.network is MLPNetwork:
        sizes = {"hidden": (12, 8)}
    network = task.network(density=0.3, **sizes)
    return task.build(network, generator=torch.Generator().manual_seed(seed))


def loss(task, model, number=0, seed=0):
    """The loss of a step after those before it, whose memory it has."""
    memory = {}
    for each in range(number + 1):
        torch.manual_seed(each)
        found = task.loss(model, Step(each, seed, memory))
    return found


def test_loss_is_finite_and_differentiable(task):
    model = build(task)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for number in range(2):
        found = loss(task, model, number)
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
    assert found.dim() == 0 and found.isfinite()
    for which, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), which
        assert parameter.grad.any(), which


def test_every_split_is_evaluated(task):
    model = build(task).eval()
    assert task.splits
    for split in task.splits:
        found = task.evaluate(model, split)
        assert task.metric in found
        assert all(isinstance(value, float) and math.isfinite(value) for value in found.values())
        assert found == task.evaluate(model, split)


#: Shape of an example, classes, and examples for training, validation and test.
SIZES = {
    "cifar-10": ((3072,), 10, (90, 10, 20)),
    "coil20": ((1024,), 20, (864, 96, 480)),
    "coil20-rbm": ((1024,), None, (864, 96, 480)),
    "digits": ((8, 8), 10, (1257, 180, 360)),
    "fashion-mnist": ((784,), 10, (40, 8, 12)),
    "japanese-vowels": ((29, 12), 9, (216, 54, 370)),
    "laser": ((100, 1), None, (5900, 38, 40)),
    "lung": ((3312,), 5, (115, 20, 68)),
    "madelon": ((500,), 2, (1800, 200, 600)),
    "mnist": ((28, 28), 10, (55, 5, 20)),
    "mnist-mlp": ((784,), 10, (55, 5, 20)),
}


def test_splits_have_their_sizes_and_share_nothing(task):
    if task.name not in SIZES:
        assert not issubclass(type(task), FeatureClassification | Reconstruction)
        return
    shape, classes, sizes = SIZES[task.name]
    parts = [task.examples[split] for split in ("train", "validation", "test")]
    assert tuple(len(part) for part in parts) == sizes
    for part in parts:
        assert part.inputs.shape == (len(part), *shape) and part.inputs.dtype == torch.float32
        assert part.inputs.isfinite().all()
        if classes is not None:
            assert task.answers == classes
            assert part.targets.dtype == torch.int64 and part.targets.shape == (len(part),)
            assert 0 <= part.targets.min() <= part.targets.max() < classes
        elif isinstance(task, Reconstruction):
            assert torch.equal(part.targets, part.inputs)
    rows = [{row.numpy().tobytes() for row in part.inputs} for part in parts]
    if task.name not in ("madelon", "laser"):  # whose written rows repeat
        assert sum(map(len, rows)) == len(set.union(*rows)) == sum(sizes)


def test_model_is_a_function_of_the_generator(task):
    one, same, other = (build(task, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_batches_follow_from_step_and_seed(task):
    model, again = build(task), dataclasses.replace(task)
    first = loss(task, model, 1)
    assert torch.equal(first, loss(again, model, 1))
    assert not torch.equal(first, loss(task, model, 0))
    ordered = ("mackey-glass", "next-value")
    if isinstance(task, Supervised) and task.name not in ordered:
        assert not torch.equal(first, loss(task, model, 1, seed=1))


def test_the_recipe_is_a_run(task):
    config = Config.of(task)
    assert config.method.every < config.steps
    settings = config.to_json()
    assert Config.from_json(settings) == config
    parts = ("task", "network", "optimization", "method")
    flat = {key: value for part in parts for key, value in settings[part].items()} | settings
    flat["method"] = settings["method"]["name"]
    for setting, value in task.recipe.items():
        # Only its batch size is other than that of the tiny task.
        assert setting == "batch_size" or flat[setting] == json.loads(json.dumps(value))


def test_what_tasks_say_of_themselves():
    for name, task in TASKS.items():
        assert task.name == name and task.summary and task.metric
        settings = {field.name for field in dataclasses.fields(task.network)}
        known = {field.name for field in dataclasses.fields(task)}
        assert not known & settings, "a setting of both would be two options of one name"
        # The command line reads types, and Python 3.10 does not resolve a ClassVar without one.
        for base in task.__mro__:
            assert "ClassVar" not in vars(base).get("__annotations__", {}).values(), base


@pytest.mark.parametrize(
    "name", [n for n in NAMES if "data" in {f.name for f in dataclasses.fields(TASKS[n])}]
)
def test_absent_files_are_named(name, tmp_path):
    """And before a run has a folder."""
    task = TASKS[name](data=tmp_path)
    with pytest.raises(FileNotFoundError, match=f"of the data set .* in {tmp_path}, found none"):
        Run(tmp_path / "run", Config.of(task))
    assert not (tmp_path / "run").exists()
