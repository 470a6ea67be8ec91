"""Runs in worker processes: their order, their errors, and how they are interrupted."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from lab.train.jobs import Endless, Killed, Quick

from sparse_engine.lab.tasks import Digits
from sparse_engine.lab.train import Config, Job, Run, read_metrics, run_all, sweep

SMALL = {"steps": 6, "every": 2, "hidden": 12, "density": 0.3, "evaluate_every": 2}
CONFIG = Config.published("digits", **SMALL)


@pytest.fixture(autouse=True)
def _no_worker_is_left():
    yield
    assert not multiprocessing.active_children()


def test_jobs_share_the_threads_and_go_on_after_an_error(threads):
    threads(6)
    wrong = Quick("wrong", ValueError("of the run"))
    jobs = [wrong, *(Quick(str(k)) for k in range(3)), Quick("there", result_there=True)]
    errors = []
    found = run_all(
        jobs, workers=2, progress=False, on_error=lambda job, error: errors.append((job, error))
    )
    (there, *others) = [(job.name, result.metric) for job, result in found]
    assert there == ("there", -1)  # without a worker
    assert sorted(others) == [("0", 3), ("1", 3), ("2", 3)]
    assert [(job.name, str(error)) for job, error in errors] == [("wrong", "of the run")]


def test_an_error_ends_the_others(tmp_path):
    """Jobs that wait among them: their futures are cancelled, and no thread of the pool fails."""
    endless = [Endless(str(tmp_path / str(k))) for k in range(5)]
    jobs = [Quick("wrong", ValueError("of the run")), *endless]
    with pytest.raises(ValueError, match="of the run"):
        list(run_all(jobs, workers=1, progress=False))


SCRIPT = """
import sys
from lab.train.jobs import Endless
from sparse_engine.lab.train import run_all

if __name__ == "__main__":
    list(run_all([Endless(sys.argv[1])], progress=False))
"""


def test_workers_end_with_the_process_that_waits(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    marker = tmp_path / "worker"
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    waiting = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", marker], env=os.environ | {"PYTHONPATH": path}
    )
    try:
        while not (marker.exists() and marker.read_text()):
            assert waiting.poll() is None
            time.sleep(0.05)
    finally:
        waiting.kill()
        waiting.wait()
    worker = int(marker.read_text())
    for _ in range(600):
        if not is_running(worker):
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker goes on")


def is_running(process):
    """Whether a process is there, and no zombie that waits for a parent to look at it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_that_the_system_ends_is_no_error_of_the_run():
    with pytest.raises(MemoryError, match="take fewer workers"):
        list(run_all([Killed("big")], progress=False, on_error=lambda *_: None))


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".png"}


def test_a_sweep_that_was_interrupted_goes_on(tmp_path):
    """Ctrl-C comes to the process that waits while its runs train."""
    config = CONFIG.replaced(steps=300, evaluate_every=50, save_every=1000)
    jobs = sweep(config, tmp_path / "sweep", seed=[0, 1])

    def interrupt():
        log = jobs[0].folder / "metrics.jsonl"
        while not (log.exists() and read_metrics(log)):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        list(run_all(jobs, workers=1, progress=False))
    thread.join()
    step = json.loads((jobs[0].folder / "checkpoint.json").read_text())["step"]
    assert 0 < step < 300 and jobs[0].result() is None
    assert not (jobs[1].folder / "metrics.jsonl").exists()
    results = [result for _, result in run_all(jobs, workers=1, progress=False)]
    for job, result in zip(jobs, results, strict=True):
        whole = tmp_path / "whole" / job.folder.name
        Run(whole, job.config).train(progress=False)
        found = files(job.folder)
        assert json.loads(found.pop("result.json"))["seconds"] == result.seconds
        assert found == files(whole)


def test_a_finished_run_is_not_repeated(tmp_path, monkeypatch):
    job = Job(tmp_path / "run", CONFIG)
    first = job()
    monkeypatch.setattr(Job, "__call__", lambda job: pytest.fail("a finished run is repeated"))
    ((_, result),) = run_all([job], progress=False)
    assert result == first == job.result()
    assert Job(tmp_path / "run", CONFIG.replaced(seed=1)).result() is None
    (tmp_path / "run" / "result.json").write_text("{")
    assert job.result() is None


def test_seconds_add_up(tmp_path):
    job = Job(tmp_path / "run", CONFIG)
    first = job()
    assert job().seconds > first.seconds


def test_jobs_of_one_task_read_its_data_once(tmp_path, monkeypatch):
    reads, load = [], Digits.load
    monkeypatch.setattr(Digits, "load", lambda task: reads.append(task) or load(task))
    for number, pixels in enumerate((False, False, True, False)):
        config = Config.published("digits", **SMALL, seed=number, pixels=pixels, batch_size=31)
        Job(tmp_path / str(number), config)()
    assert [task.pixels for task in reads] == [False, True]
