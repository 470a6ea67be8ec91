"""The jobs of a sweep."""

from pathlib import Path

import pytest

from sparse_engine.lab.train import METHODS, Config, sweep

CONFIG = Config.published("mackey-glass")


def test_every_combination_has_its_folder_and_settings():
    jobs = sweep(CONFIG, Path("here"), method=["set", "rigl"], density=[0.1, 0.02], seed=range(3))
    assert len(jobs) == len({job.folder for job in jobs}) == 12
    assert jobs[-1].folder == Path("here/method=rigl,density=0.02/seed=2")
    assert jobs[-1].config == CONFIG.replaced(method="rigl", density=0.02, seed=2)


def test_methods_that_prune_start_dense_and_end_with_the_density():
    pruning = {name for name, method in METHODS.items() if method.prunes}
    assert pruning == {"granet", "chtss", "pruning", "narang"}
    (job,) = sweep(CONFIG, Path("here"), method=["pruning"], density=[0.02])
    assert job.config.network.density == 1 and job.config.method.final_density == 0.02
    assert job.folder == Path("here/method=pruning,density=0.02/seed=0")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"seed": [1, 1]}, r"different values of each setting, found {'seed': \[1, 1\]}"),
        ({"seed": []}, "different values"),
        ({"leak": [1]}, "found leak"),
        ({"method": ["sets"]}, "found 'sets'"),
        ({"density": [0.1], "method": ["sets"]}, "found 'sets'"),
    ],
)
def test_values_that_make_no_run_are_refused(values, found):
    with pytest.raises(ValueError, match=found):
        sweep(CONFIG, Path("here"), **values)
