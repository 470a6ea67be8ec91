"""What records of measurements say about the machine, and the limits of a control group."""

import subprocess

import pytest
from fresh_process import run_script

from sparse_engine import machine
from sparse_engine.machine import memory_limit, threads_within_quota
from sparse_engine.ops._dispatch import native as _native


@pytest.mark.parametrize(
    ("vendor", "family", "model", "stepping", "expected"),
    [
        ("AuthenticAMD", 23, 49, 0, "Zen 2"),  # EPYC 7742
        ("AuthenticAMD", 25, 1, 1, "Zen 3"),  # EPYC 7763
        ("AuthenticAMD", 25, 17, 1, "Zen 4"),  # EPYC 9654
        ("AuthenticAMD", 25, 33, 0, "Zen 3"),  # Ryzen 9 5950X
        ("AuthenticAMD", 25, 97, 2, "Zen 4"),  # Ryzen 9 7950X
        ("AuthenticAMD", 26, 2, 1, "Zen 5"),  # EPYC 9755
        ("AuthenticAMD", 99, 2, 1, "family 99, model 2"),
        ("GenuineIntel", 6, 85, 4, "Skylake"),  # Xeon Gold 6154
        ("GenuineIntel", 6, 85, 7, "Cascade Lake"),  # Xeon Gold 6248R
        ("GenuineIntel", 6, 106, 6, "Ice Lake"),  # Xeon Platinum 8375C
        ("GenuineIntel", 6, 143, 8, "Sapphire Rapids"),  # Xeon Platinum 8480+
        ("GenuineIntel", 6, 207, 2, "Emerald Rapids"),  # Xeon Platinum 8592+
        ("GenuineIntel", 6, 173, 1, "Granite Rapids"),  # Xeon 6980P
        ("Another", 6, 207, 2, "family 6, model 207"),
    ],
)
def test_families_of_x86(tmp_path, vendor, family, model, stepping, expected):
    entries = f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n"
    file = tmp_path / "cpuinfo"
    file.write_text(
        f"processor\t: 0\n{entries}stepping\t: {stepping}\n\nprocessor\t: 1\nmodel\t: 9\n"
    )
    assert machine.family(machine.cpuinfo(file)) == expected


def test_the_commit_is_that_of_the_sources_alone(tmp_path):
    """A package in an environment within somebody's work tree has none."""
    package = tmp_path / "sparse_engine"
    package.mkdir()
    assert machine.commit(package) is None
    (package / "file").write_text("1")

    def git(*words):
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *name, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", "."), git("commit", "--quiet", "-m", "a"), git("tag", "v1")
    head = git("rev-parse", "--short", "HEAD")
    assert machine.commit(package) == head
    (package / "file").write_text("2")
    assert machine.commit(package) == f"{head}-dirty"
    nested = package / "lib" / "sparse_engine"
    nested.mkdir(parents=True)
    assert machine.commit(nested) is None


def test_the_best_instruction_set_needs_all_below():
    v3, v4, bf16 = machine.FLAGS.values()
    assert machine.best_isa({"sse2"}) == machine.best_isa(v4 | bf16) == "baseline"
    assert machine.best_isa(v3 | bf16) == "x86-64-v3"
    assert machine.best_isa(v3 | v4 | bf16) == "x86-64-v4-bf16"


def test_arm_caches_and_what_is_not_there(tmp_path):
    graviton = {"CPU implementer": "0x41", "CPU part": "0xd40"}
    assert machine.family(graviton) == "Neoverse V1"
    other = machine.family(graviton | {"CPU implementer": "0x61"})
    assert other == "part 0xd40 of implementer 0x61"
    assert machine.family(machine.cpuinfo(tmp_path / "none")) == "unknown"
    for at, (kind, level, size) in enumerate([("Data", 1, "32K"), ("Instruction", 1, "64K")]):
        (tmp_path / f"index{at}").mkdir()
        for name, value in (("type", kind), ("level", level), ("size", size)):
            (tmp_path / f"index{at}" / name).write_text(f"{value}\n")
    assert machine.caches(tmp_path) == {"L1": "32K"}
    assert machine.caches(tmp_path / "none") == {}


V2, V1 = "cpu.max", "cpu.cfs_quota_us"


def control_groups(folder, own, files):
    """Write files of control control_groups by their paths; return the arguments."""
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
    assert threads_within_quota(*control_groups(tmp_path, own, files)) == expected


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
    assert memory_limit(*control_groups(tmp_path, own, files)) == expected


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
