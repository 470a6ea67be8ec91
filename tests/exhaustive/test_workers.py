"""Worker processes: those that are ended, those that end by themselves, and a DataLoader's."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lab.train.jobs import Batches, Endless, Killed, KilledOnce, Quick
from torch.utils.data import DataLoader

from sparse_engine.lab.networks import RecurrentNetwork
from sparse_engine.lab.tasks import Digits
from sparse_engine.lab.train import run_all


@pytest.fixture(autouse=True)
def _no_worker_is_left():
    yield
    assert not multiprocessing.active_children()


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
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
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


def test_a_worker_that_is_killed_costs_no_other_run(tmp_path):
    wrong = Quick("wrong", ValueError("of the run"))
    once = [KilledOnce(str(tmp_path / f"{k}")) for k in range(2)]
    jobs, errors = [wrong, *once, *(Quick(str(k)) for k in range(3))], []
    found = run_all(jobs, workers=2, progress=False, on_error=lambda *each: errors.append(each))
    assert sorted(job.name for job, _ in found) == sorted(job.name for job in jobs[1:])
    assert [job for job, _ in errors] == [wrong]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_data_loader_computes_what_this_process_does(start, threads):
    """In forked workers too, though the threads of this process do not follow there."""
    threads(2)
    task = Digits(batch_size=200)
    network = RecurrentNetwork(hidden=200, density=0.3)
    model = task.build(network, generator=torch.Generator().manual_seed(0)).eval()
    batches = Batches(task, model)
    expected = [batches[number] for number in range(len(batches))]
    loader = DataLoader(batches, batch_size=None, num_workers=2, multiprocessing_context=start)
    found = list(loader)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
        torch.testing.assert_close(one[2], other[2])  # a worker has one thread for dense products
