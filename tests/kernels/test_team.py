"""Teams of threads: their sizes, their barrier, and one thread where others have the processors."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """The numbers that team.cpp prints."""
    program = tmp_path_factory.mktemp("team") / "team"
    sources = (ROOT / "tests/kernels/team.cpp", ROOT / "csrc/cpu/runtime/crowd.cpp")
    folders = (f"-I{ROOT / folder}" for folder in ("csrc/include", "csrc/cpu"))
    compiler = os.environ.get("CXX", "g++").split()
    subprocess.run(
        [*compiler, "-std=c++17", "-O1", "-fopenmp", *folders, *sources, "-o", program], check=True
    )
    environment = {**os.environ, "OMP_DYNAMIC": "false", "OMP_THREAD_LIMIT": "8"}
    done = subprocess.run(
        [program], check=True, capture_output=True, text=True, timeout=60, env=environment
    )
    return [int(number) for number in done.stdout.split()]


def test_a_team_may_be_smaller_than_its_region_and_waits_for_one_that_sleeps(printed):
    assert printed[0] == 2


def test_a_region_in_which_nobody_ran_is_crowded_out(printed):
    assert printed[1] == 8


def test_uneven_work_and_short_regions_are_no_crowd(printed):
    assert printed[2:4] == [0, 0]


def test_crowded_regions_stay_alone_for_longer_until_one_is_not(printed):
    assert printed[4:9] == [8, 16, 32, 8, 256]


def test_no_region_is_crowded_out_where_that_is_switched_off(printed):
    assert printed[9] == 0


def test_a_team_is_cut_in_two_of_which_one_member_alone_goes_through_both(printed):
    assert printed[10:] == [1, 1, 1, 1, 3, 2]
