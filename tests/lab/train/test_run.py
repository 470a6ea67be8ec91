"""Training runs: resuming, interruption, logs and refusals."""

import signal
import threading
from functools import partial

import pytest
import torch

from sparse_engine.lab.train import Checkpoint, CheckpointError, MetricsLog, read_metrics
from sparse_engine.topology import SET, GradualPruning, RigL, Static, topology_hash

FILES = (
    "config.json",
    "metrics.jsonl",
    "topology.jsonl",
    "checkpoint.json",
    "checkpoint-00000020.safetensors",
)


def assert_same_files(one, other):
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


class Stop(Exception):
    pass


def raise_at(number):
    def at_step(step):
        if step == number:
            raise Stop

    return at_step


def signal_at(number, kind):
    return lambda step: signal.raise_signal(kind) if step == number else None


def test_leaves_a_folder_that_tells_everything(tmp_path, start):
    run = start(tmp_path / "deep" / "run")
    result = run.train(progress=False)
    assert result.finished and run.step == 20
    assert result.nnz == run.nnz == run.model.recurrent.weight_hh_l0.nnz == 43
    assert result.metric == run.task.evaluate(run.model)["mse"]
    assert result.seconds > 0 and result.peak_bytes > 50e6
    assert set(FILES) <= {path.name for path in run.folder.iterdir()}
    entries = read_metrics(run.folder / "metrics.jsonl")
    assert [entry["step"] for entry in entries] == list(range(2, 21, 2))
    assert all(entry["nnz"] == 43 for entry in entries)
    assert entries[-1]["metric"] == result.metric


@pytest.mark.parametrize(("limit", "expected"), [(32_768, 1), (0, 2)])
def test_a_small_model_has_one_thread(limit, expected, tmp_path, start, threads, monkeypatch):
    """Torch would wait for a second one in every operation, for milliseconds on a busy machine."""
    monkeypatch.setattr("sparse_engine.lab.train.process.SMALL", limit)
    threads(2)
    found = set()
    start(tmp_path, at_step=lambda _: found.add(torch.get_num_threads())).train(progress=False)
    assert found == {expected} and torch.get_num_threads() == 2


def test_records_every_rewiring(tmp_path, start):
    run = start(tmp_path)
    run.train(progress=False)
    records = read_metrics(tmp_path / "topology.jsonl")
    assert [record["step"] for record in records] == [3, 6, 9, 12, 15, 18]
    assert [record["rewirings"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert {record["weight"] for record in records} == {"recurrent.weight_hh_l0"}
    assert records[-1]["hash"] == topology_hash(run.model.recurrent.weight_hh_l0)
    assert records[-1]["exploration"] == run.tracker.exploration > records[0]["exploration"]


def test_is_a_function_of_its_settings(tmp_path, start):
    for name in ("one", "same"):
        start(tmp_path / name).train(progress=False)
    start(tmp_path / "other", seed=1).train(progress=False)
    assert_same_files(tmp_path / "one", tmp_path / "same")
    one, other = (tmp_path / name / "metrics.jsonl" for name in ("one", "other"))
    assert one.read_bytes() != other.read_bytes()


@pytest.mark.parametrize(
    ("method", "every"),
    [
        (SET, 20),
        (SET, 21),
        (partial(RigL, steps=20), 15),
        (partial(GradualPruning, density=0.1, last=10), 20),
    ],
)
def test_a_method_that_never_rewires_is_refused(tmp_path, start, method, every):
    with pytest.raises(ValueError, match=f"before the last of 20 steps.* every = {every}; take"):
        start(tmp_path / "never", method=partial(method, every=every))
    assert not (tmp_path / "never").exists()
    run = start(tmp_path / "once", method=partial(method, every=every - every // 20 - 1))
    run.train(progress=False)
    assert run.model.recurrent.weight_hh_l0.topology_version == 1


@pytest.mark.parametrize("method", [Static, partial(SET, fraction=0.0, every=3)])
def test_a_wiring_may_stay(tmp_path, start, method):
    run = start(tmp_path, method=method, steps=4)
    before = run.model.recurrent.weight_hh_l0.col_indices.clone()
    run.train(progress=False)
    assert torch.equal(run.model.recurrent.weight_hh_l0.col_indices, before)


def test_the_last_step_leaves_no_gradients_behind(tmp_path, start):
    def make(model, optimizer):
        return RigL(model, optimizer, steps=20, every=5, stop=1.0)

    run = start(tmp_path, method=make)
    run.train(progress=False)
    assert not [name for name in Checkpoint.load(tmp_path).rewiring if name.startswith("factors")]


@pytest.mark.parametrize(
    ("step", "kind", "every"),
    [
        (0, signal.SIGTERM, 3),
        (4, signal.SIGINT, 3),
        (4, signal.SIGINT, 5),
        (7, signal.SIGTERM, 3),
        (18, signal.SIGINT, 5),
    ],
)
def test_interrupted_and_resumed_equals_never_stopped(tmp_path, start, step, kind, every):
    start = partial(start, every=every)
    start(tmp_path / "whole").train(progress=False)
    run = start(tmp_path / "parts", at_step=signal_at(step, kind))
    assert not run.train(progress=False).finished
    assert run.step == Checkpoint.load(run.folder).step == step + 1
    assert start(run.folder, resume=True).train(progress=False).finished
    assert_same_files(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("step", [3, 13])
def test_failed_and_resumed_equals_never_stopped(tmp_path, start, step):
    """Steps after the last checkpoint are taken again, and logged once."""
    start(tmp_path / "whole").train(progress=False)
    with pytest.raises(Stop):
        start(tmp_path / "parts", at_step=raise_at(step)).train(progress=False)
    resumed = start(tmp_path / "parts", resume=True)
    assert resumed.step == step // 5 * 5
    resumed.train(progress=False)
    assert_same_files(tmp_path / "whole", tmp_path / "parts")


def test_resuming_a_finished_run_changes_nothing(tmp_path, start):
    start(tmp_path / "once").train(progress=False)
    start(tmp_path / "twice").train(progress=False)
    assert start(tmp_path / "twice", resume=True).train(progress=False).finished
    assert_same_files(tmp_path / "once", tmp_path / "twice")


def test_puts_signal_handlers_back(tmp_path, start):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stop):
        start(tmp_path, at_step=raise_at(2)).train(progress=False)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_trains_outside_the_main_thread(tmp_path, start):
    results = []
    run = start(tmp_path)
    thread = threading.Thread(target=lambda: results.append(run.train(progress=False)))
    thread.start()
    thread.join()
    assert results[0].finished


def test_stops_at_a_loss_that_is_not_finite(tmp_path, start):
    def spoil(step):
        if step == 7:
            run.model.readout.data.fill_(float("nan"))

    run = start(tmp_path, at_step=spoil)
    with pytest.raises(FloatingPointError, match="expected a finite loss, found nan at step 7"):
        run.train(progress=False)
    assert Checkpoint.load(tmp_path).model["readout"].isfinite().all()


def test_refuses_a_folder_with_files(tmp_path, start):
    start(tmp_path / "run")
    with pytest.raises(FileExistsError, match=r"expected a new or empty folder.*--resume"):
        start(tmp_path / "run")


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"evaluate_every": 0},
        {"save_every": -1},
        {"seed": -1},
        {"seed": 2**63},
        {"hidden": 0},
        {"density": 0.0},
        {"density": 1.1},
        {"density": float("nan")},
        {"learning_rate": -1.0},
        {"every": 0},
    ],
)
def test_settings_that_cannot_be_leave_no_folder(tmp_path, start, settings):
    with pytest.raises(ValueError, match=r"expected|Invalid"):
        start(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_says_that_there_is_nothing_to_resume(tmp_path, start):
    with pytest.raises(CheckpointError, match=r"found no config\.json.*--resume"):
        start(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value"), [("network.hidden", 13), ("network.density", 0.2), ("seed", 3)]
)
def test_refuses_to_resume_with_other_settings(tmp_path, start, name, value):
    start(tmp_path)
    with pytest.raises(CheckpointError, match=f"found {name} = {value}"):
        start(tmp_path, resume=True, **{name.rpartition(".")[2]: value})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"null", b"\xff"])
def test_refuses_to_resume_from_a_damaged_config(tmp_path, start, content):
    start(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="expected"):
        start(tmp_path, resume=True)


def test_log_leaves_out_a_line_that_was_cut_short(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "lo')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
    log = MetricsLog(path, steps=1)
    log.write({"step": 2, "loss": 0.5})
    log.close()
    assert path.read_text() == '{"step": 1}\n{"step": 2, "loss": 0.5}\n'


@pytest.mark.parametrize("line", ["{", "3", "[]", "{}", '{"step": "x"}', ""])
def test_log_names_a_damaged_line(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(ValueError, match="expected an entry with a step in line 2"):
        read_metrics(path)
