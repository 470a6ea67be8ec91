"""Settings of the single operations, which are pytest-benchmark cases (``make bench-kernels``)."""

from __future__ import annotations

import pytest

from benchmarks._harness import Options
from benchmarks._report import machine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="tiny sizes, to see that everything runs")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``case`` what the module has in CASES, or in QUICK where sizes are to be tiny."""
    if "case" in metafunc.fixturenames:
        quick = metafunc.config.getoption("--quick")
        cases = metafunc.module.QUICK if quick else metafunc.module.CASES
        metafunc.parametrize("case", cases, ids=str)


@pytest.fixture(autouse=True)
def _prepare() -> None:
    Options().prepare()


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    machine_info["benchmarks"] = machine()


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list, output_json: dict
) -> None:
    """Leave out each single time, of which there may be a hundred thousand."""
    for each in output_json["benchmarks"]:
        each["stats"].pop("data", None)
