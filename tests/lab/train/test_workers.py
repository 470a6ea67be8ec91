"""Jobs of a sweep, and runs in worker processes, which exhaustive/test_workers.py ends."""

import multiprocessing
from pathlib import Path

import pytest
from lab.train.jobs import Quick
from testing import refusals

from sparse_engine.lab.tasks import Digits
from sparse_engine.lab.train import METHODS, Config, Job, run_all, sweep

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


PLAIN = Config.published("mackey-glass")


def test_every_combination_has_its_folder_and_settings():
    jobs = sweep(PLAIN, Path("here"), method=["set", "rigl"], density=[0.1, 0.02], seed=range(3))
    assert len(jobs) == len({job.folder for job in jobs}) == 12
    assert jobs[-1].folder == Path("here/method=rigl,density=0.02/seed=2")
    assert jobs[-1].config == PLAIN.replaced(method="rigl", density=0.02, seed=2)


def test_methods_that_prune_start_dense_and_end_with_the_density():
    pruning = {name for name, method in METHODS.items() if method.prunes}
    assert pruning == {"granet", "chtss", "pruning", "narang"}
    (job,) = sweep(PLAIN, Path("here"), method=["pruning"], density=[0.02])
    assert job.config.network.density == 1 and job.config.method.final_density == 0.02
    assert job.folder == Path("here/method=pruning,density=0.02/seed=0")


def of(**values):
    return lambda: sweep(PLAIN, Path("here"), **values)


test_values_that_make_no_run_are_refused = refusals(
    (r"different values of each setting, found {'seed': \[1, 1\]}", of(seed=[1, 1])),
    ("different values", of(seed=[])),
    ("found leak", of(leak=[1])),
    ("found 'sets'", of(method=["sets"])),
    ("found 'sets'", of(density=[0.1], method=["sets"])),
)
