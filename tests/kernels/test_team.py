"""Teams of threads: their sizes, their barrier, and the way that is quickest."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """The numbers that team.cpp prints."""
    program = tmp_path_factory.mktemp("team") / "team"
    sources = (ROOT / "tests/kernels/team.cpp", ROOT / "csrc/cpu/runtime/trials.cpp")
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


def test_every_way_is_tried_twice_and_then_the_quickest_runs(printed):
    assert printed[1:4] == [2, 2, 2]
    rows, columns, alone = printed[4:7]
    assert rows > 950
    assert columns + alone > 10


def test_the_choice_follows_the_times(printed):
    assert printed[9] > 900  # alone, while it is the quickest
    assert printed[10] > 900  # and rows again


def test_a_way_that_is_not_offered_is_never_taken(printed):
    rows, columns, alone = printed[13:16]
    assert (columns, alone) == (0, 2)
    assert rows == 998


def test_a_way_that_is_slow_now_and_then_costs_little(printed):
    assert printed[16] < 110  # percent of the time of one thread


def test_a_way_that_is_quicker_is_taken_although_its_times_differ(printed):
    assert printed[17] < 60


def test_regions_take_the_way_that_is_quicker(printed):
    assert printed[18] >= 16  # of 20, alone
    assert printed[19] == 2


def test_regions_take_the_way_that_is_forced(printed):
    assert printed[20:22] == [0, 5]


def test_a_team_is_cut_in_two_of_which_one_member_alone_goes_through_both(printed):
    assert printed[22:] == [1, 1, 1, 1, 3, 2]
