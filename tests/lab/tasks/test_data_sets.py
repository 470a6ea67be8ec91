"""Data sets read from files and libraries: published counts, features, windows and messages."""

import gzip
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lab.tasks.layouts import tiny_task
from torch import nn
from torch.testing import assert_close

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks import (
    SMS,
    TASKS,
    Digits,
    Examples,
    Gesture,
    JapaneseVowels,
    Laser,
    Step,
    cifar_10,
)
from sparse_engine.lab.tasks.features import standardized
from sparse_engine.lab.tasks.sms import words_of
from sparse_engine.lab.tasks.windows import ACTIVITIES, VIDEOS, window_steps


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes a task of written files."""
    place = tmp_path_factory.mktemp("data")
    return lambda name, **options: tiny_task(place, name, **options)


def test_real_madelon_is_the_published_one(data):
    path = data / "madelon"
    task = TASKS["madelon"](data=path)
    assert task.evaluate(ConstantModel(), "test")["accuracy"] == 0.5
    # The checksum in the published description of the data.
    assert sum(map(int, (path / "madelon_train.data").read_text().split())) == 488_083_511
    train = task.examples["train"].inputs
    assert_close(train.mean(0), torch.zeros(500), atol=1e-4, rtol=0)
    assert_close(train.std(0, correction=0), torch.ones(500), atol=1e-3, rtol=0)


class ConstantModel(torch.nn.Module):
    """Names class 0 always."""

    def forward(self, x):
        return torch.tensor([1.0, 0.0]).expand(len(x), 2)


def test_real_coil20_has_72_pictures_of_each_object(data):
    parts = TASKS["coil20"](data=data / "coil20").examples
    targets = torch.cat([part.targets for part in parts.values()])
    assert torch.bincount(targets).tolist() == [72] * 20
    levels = torch.cat([part.inputs for part in parts.values()])
    assert levels.min() == 0 and levels.max() == 1


def test_images_are_rows_pixels_or_vectors(make):
    task = make("mnist")
    file = gzip.decompress((task.data / "t10k-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(file[16:], np.uint8).reshape(-1, 28, 28)
    rows, of_mlp = task.examples, make("mnist-mlp", data=task.data).examples
    assert torch.equal(rows["test"].inputs, torch.from_numpy(images / 255).float())
    assert torch.equal(rows["test"].targets, torch.arange(20) % 10)
    for split, vectors in of_mlp.items():
        assert torch.equal(vectors.inputs, rows[split].inputs.flatten(1))
        assert torch.equal(vectors.targets, rows[split].targets)
    pixels, permuted = (
        make("mnist", pixels=True, permuted=permuted).examples["test"].inputs
        for permuted in (False, True)
    )
    assert torch.equal(pixels, rows["test"].inputs.reshape(20, 784, 1))
    assert not torch.equal(permuted, pixels)
    # One order for all images: columns of the pixels are columns of the permuted ones.
    columns = {tuple(column) for column in pixels[..., 0].T.tolist()}
    assert {tuple(column) for column in permuted[..., 0].T.tolist()} == columns


def test_test_images_take_the_place_of_absent_training_images(data):
    task = TASKS["mnist"](data=data / "mnist")
    if (data / "mnist" / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("the training images are there")
    with pytest.warns(UserWarning, match=r"first 8,000 test images .* 2,000 remain"):
        parts = task.examples
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 7200,
        "validation": 800,
        "test": 2000,
    }
    assert parts["test"].inputs.shape == (2000, 28, 28)
    assert parts["train"].inputs.min() == 0 and parts["train"].inputs.max() == 1


def test_features_are_standardized_by_the_training_examples():
    train = Examples(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.zeros(2))
    test = Examples(torch.tensor([[4.0, 6.0]]), torch.zeros(1))
    parts = standardized({"train": train, "test": test})
    assert_close(parts["train"].inputs, torch.tensor([[-1.0, 0.0], [1.0, 0.0]]) / 1.0001)
    assert parts["train"].inputs[:, 1].tolist() == [0, 0]
    assert_close(parts["test"].inputs, torch.tensor([[2 / 1.0001, 1e4]]))


def test_pictures_have_their_red_green_and_blue_in_order(make):
    task = make("cifar-10")
    record = np.fromfile(task.data / "data_batch_1.bin", np.uint8)[:3073]
    first = task.examples["train"]
    assert first.targets[0] == record[0]
    assert_close(first.inputs[0], torch.from_numpy(record[1:]).float() / 255)


def test_augmentation_turns_shifts_and_mirrors():
    # A bright left half: a mirrored picture has it on the right.
    picture = torch.zeros(400, 3, 32, 32)
    picture[..., :16] = 1
    changed = cifar_10.augmented(picture, torch.Generator().manual_seed(0))
    left, right = changed[..., 6].mean((1, 2)), changed[..., 25].mean((1, 2))
    assert ((left - right).abs() > 0.9).all()
    assert 0.4 < (left < right).double().mean() < 0.6
    # Angles tilt the edge, shifts move it: in the mean by 0, at most by a tenth.
    share = changed.mean((1, 2, 3))
    assert share.mean().item() == pytest.approx(0.5, abs=0.01)
    assert 0.07 < (share - 0.5).abs().max() < 0.11
    tilt = changed[:, 0, 4].sum(1) - changed[:, 0, 27].sum(1)
    assert 3 < tilt.abs().max() < 23 * np.tan(np.radians(10)) + 0.1


def test_augmented_batches_are_for_training_only(make):
    plain, changed = (make("cifar-10", batch_size=4, augment=augment) for augment in (False, True))
    steps = [Step(number) for number in (0, 0, 22)]
    first, again, later = (changed.batch(step).inputs for step in steps)
    assert torch.equal(first, again) and not torch.equal(first, later)
    assert not torch.equal(first, plain.batch(steps[0]).inputs)
    assert torch.equal(plain.examples["test"].inputs, changed.examples["test"].inputs)


def test_too_many_pictures_are_refused(make):
    for sizes, message in (
        ({"train_size": 53}, r"at most 60 pictures .* found .*53.*8"),
        ({"train_size": 0}, "expected sizes of at least 1"),
        ({"test_size": 21}, "expected test_size of at most 20, found 21"),
    ):
        with pytest.raises(ValueError, match=message):
            make("fashion-mnist", **sizes).load()


def test_windows_have_the_published_counts(data):
    task = Gesture(data=data / "gesture")
    recordings = task.recordings()
    counts = [len(window_steps([len(y)], 32)) for _, y in recordings]
    assert counts == [113, 65, 87, 67, 89, 77, 107] and sum(counts) == 605
    assert sum(len(y) for _, y in recordings) == 9_873
    assert {name: len(part) for name, part in task.examples.items()} == {
        "train": 260,
        "validation": 60,
        "test": 90,
    }
    assert len(Gesture(data=data / "gesture", faithful=True).examples["train"]) == 455


def test_test_windows_are_the_published_ones(data):
    published = [0.316, 0.196, 0.264, 0.117, 0.108]
    for faithful in (False, True):
        phases = Gesture(data=data / "gesture", faithful=faithful).examples["test"].targets
        found = phases.flatten().bincount() / phases.numel()
        assert found.tolist() == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize("faithful", [False, True])
def test_windows_are_those_of_a_loop(tiny, faithful):
    """Cut, split and standardize one window after the other, in NumPy."""
    task = tiny("gesture", faithful=faithful)
    windows = []
    for number, (features, phases) in enumerate(task.recordings()):
        whole = len(phases) // 32 * 32
        for start in range(0, whole - 31, 16):
            rows = slice(start, start + 32)
            windows.append((number, start, features[rows].numpy(), phases[rows].numpy()))
    order = np.random.RandomState(23489).permutation(len(windows))
    held = int(0.1 * len(windows)), int(0.15 * len(windows))
    validation, test, train = np.split(order, np.cumsum(held))
    if not faithful:
        taken = {(windows[k][0], windows[k][1] + d) for k in order[: sum(held)] for d in range(32)}
        train = [
            k for k in train if not taken & {(windows[k][0], windows[k][1] + d) for d in range(32)}
        ]
    counted = np.concatenate([windows[k][2] for k in (order if faithful else train)])
    mean, spread = counted.mean(0), counted.std(0)
    for name, numbers in (("train", train), ("validation", validation), ("test", test)):
        expected = np.stack([(windows[k][2] - mean) / spread for k in numbers])
        found = task.examples[name]
        np.testing.assert_allclose(found.inputs.numpy(), expected, rtol=1e-5, atol=1e-6)
        assert np.array_equal(found.targets.numpy(), [windows[k][3] for k in numbers])


@given(st.lists(st.integers(0, 100), max_size=4), st.integers(1, 8).map(lambda half: 2 * half))
def test_windows_stay_in_their_recording(sizes, length):
    found = window_steps(sizes, length)
    ends = np.cumsum(sizes)
    recording = np.searchsorted(ends, found.numpy(), side="right")
    assert (recording == recording[:, :1]).all()
    assert (found.diff(dim=1) == 1).all() and len(found.unique(dim=0)) == len(found)
    assert len(found) == sum(max(0, 2 * (size // length) - 1) for size in sizes)


def test_recordings_too_short_for_a_split_are_refused(tiny):
    task = tiny("gesture")
    for video in VIDEOS[1:]:
        path = task.data / f"{video}_va3.csv"
        path.write_text("\n".join(path.read_text().splitlines()[:3]))
    with pytest.raises(ValueError, match="expected windows for each split of gesture, found 3 for"):
        task.load()


def test_a_constant_feature_stays_finite(tiny):
    task = tiny("gesture")
    for video in VIDEOS:
        path = task.data / f"{video}_va3.csv"
        head, *lines = path.read_text().splitlines()
        path.write_text("\n".join([head, *("0.5," + line.partition(",")[2] for line in lines)]))
    assert torch.equal(task.examples["test"].inputs[..., 0], torch.zeros(3, 32))


def test_recordings_are_what_the_file_has(tiny):
    task = tiny("person")
    text = (task.data / "ConfLongDemo_JSI.txt").read_text()
    lines = [line.split(",") for line in text.splitlines()]
    features = torch.cat([x for x, _ in task.recordings()])
    classes = torch.cat([y for _, y in task.recordings()])
    assert [len(y) for _, y in task.recordings()] == [110, 100, 130]
    for row in (0, 1, 111, 339):
        tag = {"024-033": 0, "030-096": 1, "033-111": 2, "032-221": 3}[lines[row][1][-7:]]
        assert features[row, :4].tolist() == [float(k == tag) for k in range(4)]
        assert features[row, 4:].tolist() == [float(x) for x in lines[row][4:7]]
        assert classes[row] == ACTIVITIES[lines[row][7]]


def test_eleven_activities_are_seven_classes():
    assert len(ACTIVITIES) == 11 and set(ACTIVITIES.values()) == set(range(7))


def test_the_last_recording_is_lost_if_faithful(tiny):
    faithful = tiny("person", faithful=True)
    kept = [len(y) for _, y in faithful.recordings()]
    assert kept == [110, 100]
    assert sum(map(len, faithful.examples.values())) == len(window_steps(kept, 32))


def test_only_the_faithful_task_leaves_positions_as_they_are(tiny):
    faithful, ours = tiny("person", faithful=True), tiny("person")
    raw = torch.cat([x for x, _ in faithful.recordings()]).float()
    seen = faithful.examples["train"].inputs.flatten(0, 1)
    assert (seen[:5, None] == raw).all(2).any(1).all()
    trained = ours.examples["train"].inputs.flatten(0, 1)
    torch.testing.assert_close(trained.mean(0), torch.zeros(7), atol=1e-5, rtol=0)
    torch.testing.assert_close(trained.std(0, correction=0), torch.ones(7), atol=1e-5, rtol=0)


def test_counts_are_the_published_ones(data):
    task = SMS(data=data / "sms")
    messages, classes = task.messages
    assert classes.bincount().tolist() == [747, 4827]
    assert len(task.vocabulary) + 1 == 933
    lengths = torch.tensor([len(words) for words in messages]).double()
    assert lengths.mean() == pytest.approx(14.9, abs=0.05)
    assert (lengths > 25).double().mean() == pytest.approx(0.142, abs=5e-4)
    assert (lengths == 0).sum() == 3
    sizes = {name: len(part) for name, part in task.examples.items()}
    assert sizes == {"train": 4459 - 446, "validation": 446, "test": 1115}
    assert all(part.inputs.shape[1] == 25 for part in task.examples.values())


def test_words_are_letters_in_lower_case():
    assert words_of("U don't\tSay_so  2day, é £1!") == ["u", "dont", "sayso", "day"]
    assert words_of("12 34 !") == []


def test_numbers_are_those_of_frequent_words(tiny):
    task = tiny("sms")
    messages, classes = task.messages
    counts = Counter(word for words in messages for word in words)
    assert set(task.vocabulary) == {word for word, count in counts.items() if count > 10}
    assert sorted(task.vocabulary.values()) == list(range(1, len(task.vocabulary) + 1))
    expected = Counter(
        (tuple(([task.vocabulary.get(w, 0) for w in words] + [0] * 25)[:25]), int(label))
        for words, label in zip(messages, classes, strict=True)
    )
    found = Counter()
    for part in task.examples.values():
        found += Counter(zip(map(tuple, part.inputs.tolist()), part.targets.tolist(), strict=True))
    assert found == expected


def test_the_split_follows_its_seed_alone(tiny):
    one, same, other = (tiny("sms", split_seed=seed).examples for seed in (1, 1, 2))
    assert torch.equal(one["test"].inputs, same["test"].inputs)
    assert not torch.equal(one["test"].inputs, other["test"].inputs)
    fewer = tiny("sms", split_seed=1, validation_size=3).examples
    assert torch.equal(one["test"].inputs, fewer["test"].inputs)
    assert len(fewer["train"]) == len(one["train"]) + 7


def test_validation_leaves_some_for_training(tiny):
    for size in (0, 48, -1):
        message = f"expected validation_size of 1 to 47, found {size}"
        with pytest.raises(ValueError, match=message):
            tiny("sms", validation_size=size).load()


def test_the_faithful_loss_has_two_softmaxes(tiny):
    task = tiny("sms", faithful=True)
    logits, classes = torch.tensor([[800.0, -800.0], [-800.0, 800.0]]), torch.tensor([0, 1])
    assert task.measures(logits, classes)["loss"] == pytest.approx(math.log(1 + math.exp(-1)))
    outputs = torch.randn(6, 2)
    classes = torch.randint(2, (6,))
    faithful, ours = task.measures(outputs, classes), tiny("sms").measures(outputs, classes)
    assert faithful["accuracy"] == ours["accuracy"]
    torch.testing.assert_close(ours["loss"], nn.functional.cross_entropy(outputs, classes))


def test_the_embedding_is_uniform_and_learned(tiny):
    task = tiny("sms")
    model = task.build(RecurrentNetwork(hidden=8), generator=torch.Generator().manual_seed(0))
    vectors = model.embedding.weight
    assert vectors.shape == (len(task.vocabulary) + 1, 50)
    assert vectors.abs().max() <= 1 and vectors.std().item() == pytest.approx(3**-0.5, rel=0.1)
    task.loss(model, Step(0)).backward()
    assert vectors.grad.any()


def test_digits_are_whole_and_in_range():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    rows, pixels, digits = Digits().examples, Digits(pixels=True).examples, datasets.load_digits()
    whole = torch.cat([part.inputs for part in rows.values()])
    assert whole.sum().item() == pytest.approx(digits.data.sum() / 16, rel=1e-5)
    assert whole.min() == 0 and whole.max() == 1
    known = dict(zip(map(tuple, digits.data.astype(int).tolist()), digits.target, strict=True))
    for name, part in rows.items():
        assert torch.equal(pixels[name].inputs, part.inputs.reshape(-1, 64, 1))
        assert torch.equal(pixels[name].targets, part.targets)
        images = (16 * part.inputs.reshape(-1, 64)).round().int().tolist()
        assert [known[tuple(image)] for image in images] == part.targets.tolist()


def test_vowels_keep_their_lengths(aeon):
    parts = JapaneseVowels().examples
    assert parts["validation"].targets.bincount().tolist() == [6] * 9
    assert parts["test"].targets.unique().tolist() == list(range(9))
    lengths = torch.cat([part.lengths for part in parts.values()])
    assert lengths.min() == 7 and lengths.max() == 29
    for part in parts.values():
        padding = torch.arange(29) >= part.lengths[:, None]
        assert not part.inputs[padding].any()
        assert part.inputs[torch.arange(len(part)), part.lengths - 1].any(1).all()


def test_padding_does_not_change_what_a_network_says(aeon):
    task = JapaneseVowels()
    generator = torch.Generator().manual_seed(0)
    model = task.build(RecurrentNetwork(hidden=16, density=0.3), generator=generator)
    some = task.examples["test"][:8]
    outputs = task.outputs(model, some)
    for row in range(8):
        alone = model(some.inputs[row, : some.lengths[row], None])
        torch.testing.assert_close(outputs[row], alone[0])


def test_the_laser_is_cut_into_windows():
    pytest.importorskip("reservoirpy", reason="reservoirpy is not installed")
    task = Laser()
    parts = task.examples
    for part in parts.values():
        assert torch.equal(part.inputs[:, 1:], part.targets[:, :-1])
    trained = torch.cat([parts["train"].inputs[0, :, 0], parts["train"].targets[:, -1, 0]])
    assert len(trained) == 6000 and abs(float(trained.mean())) < 1e-5
    assert float(trained.std()) == pytest.approx(1, rel=1e-5)
    # Each value that counts, but for a rest, is the target of one window.
    counted = parts["test"].targets[:, task.washout :].flatten()
    assert len(counted) == 40 * 50 and len(counted) > 2093 - 51 - 50


def test_the_first_steps_of_a_laser_window_do_not_count():
    outputs, targets = torch.randn(3, 100, 1), torch.randn(3, 100, 1)
    found = Laser().measures(outputs, targets)
    expected = nn.functional.mse_loss(outputs[:, 50:], targets[:, 50:])
    torch.testing.assert_close(found["loss"], expected)
    assert found["nmse"] == found["loss"]
