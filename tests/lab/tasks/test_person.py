"""Person activity: recordings of tags, in files of the published layout."""

import torch

from sparse_engine.lab.tasks.windows import ACTIVITIES, window_steps


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
