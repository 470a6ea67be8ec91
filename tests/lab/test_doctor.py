"""``sparse-engine info``: facts of the installation, what is wrong with it, and the exit status."""

import json
import subprocess
import sys

import pytest
import torch

from sparse_engine import machine, ops
from sparse_engine.lab import doctor
from sparse_engine.lab.cli import main
from sparse_engine.lab.doctor import Report, device, native, packages


def severities(report):
    return [finding.severity for finding in report.findings]


def test_info_knows_this_installation(capsys):
    assert main(["info", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    known = machine.info()
    assert report["torch_threads"] == torch.get_num_threads()
    for name in ("sparse_engine", "python", "isa", "threads", "family", "caches", "commit"):
        assert report[name] == known[name], name
    version = torch.__version__.partition("+")[0]  # a wheel's metadata may lack the local part
    assert report["packages"]["torch"].partition("+")[0] == version
    assert {"plot", "skorch"} <= report["extras"].keys()
    assert not [each for each in report["findings"] if each["severity"] == doctor.BROKEN]
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"torch {version}" in next(line for line in lines if line.startswith("pack"))


def test_a_broken_product_is_found(monkeypatch):
    def broken(values, pattern, x):
        return 2 * broken.reference(values, pattern, x)

    broken.reference = ops.spmm.reference
    monkeypatch.setattr(ops, "spmm", broken)
    report = doctor.examine()
    assert report.status == 1
    assert any("differs from its reference" in each.problem for each in report.findings)
    monkeypatch.setattr(ops, "spmm", lambda *_: 1 // 0)
    assert any("ZeroDivisionError" in each.problem for each in doctor.examine().findings)


SCRIPT = """
import sys
from importlib import metadata
class Finder:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name in {names!r} else self.finder.find_spec(name, path, target)
def version(name, known=metadata.version):
    if name in {names!r}:
        raise metadata.PackageNotFoundError(name)
    return known(name)
metadata.version = version
sys.meta_path[:] = map(Finder, sys.meta_path)
from sparse_engine.__main__ import main
sys.exit(main({arguments!r}))
"""


def run_without(missing, *arguments):
    code = SCRIPT.format(names=missing, arguments=list(arguments))
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("missing", "problem"),
    [
        ("torch", "torch cannot be imported"),
        ("sparse_engine._C", "the kernels cannot be loaded"),
        ("sparse_engine.analysis._triads", "analysis._triads cannot be loaded"),
    ],
)
def test_what_cannot_be_imported_is_named(missing, problem):
    """The doctor runs where the other commands cannot be imported."""
    done = run_without([missing], "info", "--json")
    assert done.returncode == 1, done.stderr
    found = [each for each in json.loads(done.stdout)["findings"] if problem in each["problem"]]
    assert len(found) == 1 and found[0]["remedy"] and found[0]["severity"] == doctor.BROKEN
    if missing == "torch":
        other = run_without([missing], "train", "--help")
        assert other.returncode == 1 and problem in other.stderr and not other.stdout


def test_an_installation_without_extras_is_not_broken():
    missing = ["scipy", "tqdm", "tyro", "safetensors", "pooch", "matplotlib"]
    done = run_without(missing, "info", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert not [each for each in report["findings"] if each["severity"] == doctor.BROKEN]
    assert report["extras"]["analysis"] == "without scipy, tqdm"
    assert "networkx" in report["packages"] and "scipy" not in report["packages"]
    other = run_without(missing, "train", "--help")
    assert other.returncode == 2 and not other.stdout
    assert "pip install 'sparse_engine[train]'" in other.stderr
    assert len(other.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("lines", "version", "expected"),
    [
        (["torch>=2.10"], "2.13.0+cpu", []),
        (["torch>=2.10"], "2.9.1", ["broken"]),
        (["torch>=2.10"], None, ["broken"]),
        (["matplotlib>=3.8; extra == 'plot'"], None, []),
        (["matplotlib>=3.8; extra == 'plot'"], "3.7", ["broken"]),
        (['ruff==0.14.5; extra == "dev"'], None, []),
    ],
)
def test_versions_are_compared(monkeypatch, lines, version, expected):
    monkeypatch.setattr(packages.metadata, "requires", lambda _: lines)
    monkeypatch.setattr(packages, "installed", lambda _: version)
    report = Report()
    packages.check(report)
    packages.extras(report)
    assert severities(report) == expected
    assert report.status == bool(expected)
    if expected:
        assert lines[0].partition(";")[0] in report.findings[0].remedy


@pytest.mark.parametrize(
    ("isa", "built", "remedy"),
    [
        ("x86-64-v4", ["x86-64-v4"], None),
        ("x86-64-v3", ["x86-64-v3"], "SPARSE_ENGINE_ISA_BUILD=all"),
        ("x86-64-v3", ["x86-64-v3", "x86-64-v4"], "unset SPARSE_ENGINE_ISA"),
    ],
)
def test_kernels_for_a_lesser_processor_are_slow(isa, built, remedy):
    report = Report({"processor_isa": "x86-64-v4"})
    native._check_isa(report, isa, built)
    assert [remedy in each.remedy for each in report.findings] == ([True] if remedy else [])
    assert report.status == 0


def test_threads_beyond_the_quota_are_slow():
    report = Report()
    for threads, quota in ((2, None), (2, 2), (4, 2)):
        native._check_threads(report, threads, quota)
    assert severities(report) == [doctor.SLOW]
    assert "OMP_NUM_THREADS=2" in report.findings[0].remedy


def test_runtimes_of_openmp_are_counted_once():
    maps = "1-2 r-xp 0 0:0 1 /lib/libgomp.so.1\n2-3 r--p 0 0:0 1 /lib/libgomp.so.1\n3-4 rw-p 0\n"
    assert native.openmp_runtimes(maps) == ["/lib/libgomp.so.1"]
    assert len(native.openmp_runtimes(maps + "4-5 r-xp 0 0:0 1 /opt/libiomp5.so\n")) == 2


@pytest.mark.parametrize(
    ("driver", "torch_cuda", "built", "capabilities", "words"),
    [
        (False, None, False, [], None),
        (True, None, False, [], "torch is built without CUDA"),
        (True, "12.8", True, [], "finds no device"),
        (True, "12.8", False, [(9, 0)], "the kernels are built without CUDA"),
        (True, "12.8", True, [(9, 0)], None),
        (True, "12.8", True, [(7, 0), (9, 0)], "found 7.0"),
    ],
)
def test_gpus_that_are_not_used(tmp_path, driver, torch_cuda, built, capabilities, words):
    report, file = Report(), tmp_path / "version"
    if driver:
        file.touch()
    device.compare(
        report, torch_cuda=torch_cuda, built=built, capabilities=capabilities, driver=file
    )
    assert [words in each.problem for each in report.findings] == ([True] if words else [])
