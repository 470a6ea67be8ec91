"""Threads and memory within the limits of a control group."""

import pytest
from fresh_process import run_script

from sparse_engine import machine
from sparse_engine.machine import memory_limit, threads_within_quota
from sparse_engine.ops._dispatch import native as _native

V2, V1 = "cpu.max", "cpu.cfs_quota_us"


def groups(folder, own, files):
    """Write files of control groups by their paths; return the arguments."""
    (folder / "own").write_text(own)
    for path, text in files.items():
        file = folder / "mounted" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "mounted", folder / "own"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {V2: "max 100000\n"}, None),
        ("0::/", {V2: "200000 100000\n"}, 2),
        ("0::/", {V2: "390000 100000\n"}, 3),
        ("0::/", {V2: "50000 100000\n"}, 1),
        ("0::/a/b", {f"a/{V2}": "300000 100000", f"a/b/{V2}": "800000 100000"}, 3),
        ("0::/a/b", {f"a/b/{V2}": "max 100000", V2: "100000 50000"}, 2),
        ("0::/../other", {V2: "200000 100000"}, 2),
        ("0::/gone", {}, None),
        ("4:cpu,cpuacct:/x", {f"cpu,cpuacct/x/{V1}": "400000",
                              "cpu,cpuacct/x/cpu.cfs_period_us": "100000"}, 4),
        ("1:cpu:/", {f"cpu/{V1}": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("3:memory:/", {f"cpu/{V1}": "100000", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("nonsense", {V2: "100000 100000"}, None),
        ("0::/", {V2: "100000 0"}, None),
        ("0::/", {V2: "what is this"}, None),
    ],
)  # fmt: skip
def test_the_least_quota_counts(tmp_path, own, files, expected):
    assert threads_within_quota(*groups(tmp_path, own, files)) == expected


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert threads_within_quota(tmp_path / "none", tmp_path / "neither") is None


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {"memory.max": "max\n"}, None),
        ("0::/a/b", {"a/memory.max": "3000\n", "a/b/memory.max": "9000\n"}, 3000),
        ("4:memory:/x", {"memory/x/memory.limit_in_bytes": "7000\n"}, 7000),
        ("3:cpu:/", {"memory/memory.limit_in_bytes": "7000\n"}, None),
    ],
)
def test_the_least_limit_of_memory_counts(tmp_path, own, files, expected):
    assert memory_limit(*groups(tmp_path, own, files)) == expected


SCRIPT = """
import torch
from sparse_engine import machine
from sparse_engine.nn import SparseRNN
from sparse_engine.ops._dispatch import native as _native

torch.set_num_threads(2)
assert machine.info()["threads"] == 2
network, x = SparseRNN(8, 256, density=0.2), torch.randn(20, 32, 8)
with torch.no_grad():
    expected, _ = network(x)
    _native.library.set_most_threads(1)
    assert machine.info()["threads"] == 1
    assert torch.equal(network(x)[0], expected)
"""


def test_no_more_threads_than_the_quota_run():
    done = run_script(SCRIPT)
    assert done.returncode == 0, done.stderr


def test_a_quota_is_at_least_one_thread():
    with pytest.raises(ValueError, match="expected at least 1 thread, found 0"):
        _native.library.set_most_threads(0)
    assert machine.info()["threads"] >= 1
