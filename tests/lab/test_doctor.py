"""``sparse-engine info``: facts of the installation, what is wrong with it, and the exit status."""

import json

import pytest
import torch

from sparse_engine import machine, ops
from sparse_engine.lab import doctor
from sparse_engine.lab.cli import main
from sparse_engine.lab.doctor import Diagnosis, native, packages


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
    report = Diagnosis()
    packages.check(report)
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
    report = Diagnosis({"processor_isa": "x86-64-v4"})
    native._check_isa(report, isa, built)
    assert [remedy in each.remedy for each in report.findings] == ([True] if remedy else [])
    assert report.status == 0


def test_threads_beyond_the_quota_are_slow():
    report = Diagnosis()
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
def test_gpus_that_are_not_used(driver, torch_cuda, built, capabilities, words):
    report = Diagnosis()
    native.check_devices(
        report, torch_cuda=torch_cuda, built=built, capabilities=capabilities, driver=driver
    )
    assert [words in each.problem for each in report.findings] == ([True] if words else [])
