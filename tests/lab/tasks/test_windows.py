"""Gesture phases and person activity: recordings, their windows and splits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_engine.lab.tasks import Gesture
from sparse_engine.lab.tasks.windows import ACTIVITIES, VIDEOS, window_steps


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
