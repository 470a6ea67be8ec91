"""What setup.py builds and refuses, by torch's CUDA and an nvcc that only prints."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import setuptools
import torch

SETUP = Path(__file__).resolve().parents[1] / "setup.py"
RELEASE = "Cuda compilation tools, release 13.0, V13.0.88"


def put_nvcc(home, release=RELEASE, known=(75, 80, 86, 90, 120)):
    """Write an nvcc of a toolkit; return its path."""
    nvcc = home / "bin" / "nvcc"
    for folder in ("bin", "lib64"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    architectures = " ".join(f"compute_{each}" for each in known)
    nvcc.write_text(
        f"#!/bin/sh\ncase $1 in\n--version) echo '{release}' ;;\n"
        f"--list-gpu-arch) echo {architectures} ;;\n"
        f"--dryrun) echo '#$ TOP={home}/bin/..' >&2 ;;\nesac\n"
    )
    nvcc.chmod(0o755)
    return nvcc


@pytest.fixture
def run_setup(monkeypatch):
    """Run setup.py with a torch of one CUDA; return what it builds and its names."""

    def run(of_torch="13.0", path="", home="", wanted=""):
        given = {}
        monkeypatch.chdir(SETUP.parent)
        monkeypatch.setattr(setuptools, "setup", given.update)
        monkeypatch.setattr(torch.version, "cuda", of_torch)
        for name, value in (("PATH", path), ("CUDA_HOME", home), ("SPARSE_ENGINE_CUDA", wanted)):
            monkeypatch.setenv(name, str(value))
        names = SimpleNamespace(**runpy.run_path(str(SETUP)))
        return given["ext_modules"][0], names

    return run


@pytest.mark.parametrize("release", [RELEASE, ""])
def test_an_nvcc_of_another_cuda_than_torch_has_is_refused(run_setup, tmp_path, release):
    put_nvcc(tmp_path, release)
    with pytest.raises(SystemExit, match=re.escape("expected nvcc of CUDA 12")):
        run_setup("12.8", home=tmp_path)


def test_the_runtime_of_cuda_is_linked_in(run_setup, tmp_path):
    put_nvcc(tmp_path)
    extension, _ = run_setup(home=tmp_path)
    assert "cudart_static" in extension.libraries and "cudart" not in extension.libraries


def test_without_nvcc_the_package_is_for_the_processor(run_setup, tmp_path):
    """As on a machine with CUDA's runtime alone."""
    (tmp_path / "lib64").mkdir()
    extension, names = run_setup(home=tmp_path)
    assert not names.CUDA and "torch_cuda" not in extension.libraries
    with pytest.raises(SystemExit, match="SPARSE_ENGINE_CUDA=1 needs nvcc"):
        run_setup(home=tmp_path, wanted="1")


def test_a_script_called_nvcc_leads_to_the_toolkit(run_setup, tmp_path):
    nvcc, script = put_nvcc(tmp_path / "cuda-13.0"), tmp_path / "local" / "bin" / "nvcc"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\nexec {nvcc} "$@"\n')
    script.chmod(0o755)
    extension, names = run_setup(path=script.parent)
    assert str(script) == names.NVCC
    assert extension.library_dirs[-1] == str(tmp_path / "cuda-13.0" / "lib64")


def test_the_nvcc_of_a_package_beside_torch_is_found(run_setup, tmp_path, monkeypatch):
    nvcc = put_nvcc(tmp_path / "nvidia" / "cu13")
    monkeypatch.setattr(torch, "__file__", str(tmp_path / "torch" / "__init__.py"))
    extension, names = run_setup(path=tmp_path)
    assert str(nvcc) == names.NVCC
    assert extension.library_dirs[-1] == str(tmp_path / "nvidia" / "cu13" / "lib64")


def test_architectures_are_those_of_the_devices_or_all_that_nvcc_knows(
    run_setup, tmp_path, monkeypatch
):
    monkeypatch.delenv("TORCH_CUDA_ARCH_LIST", raising=False)
    devices = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(devices))
    monkeypatch.setattr(torch.cuda, "get_device_capability", devices.__getitem__)

    def built(**options):
        put_nvcc(tmp_path, **options)
        return re.findall(r",code=(\w+)", run_setup(home=tmp_path)[1].architectures())

    everywhere = ["sm_75", "sm_80", "sm_86", "sm_90", "compute_90", "sm_120", "compute_120"]
    assert built() == everywhere
    assert built(known=(75, 80, 86, 90)) == everywhere[:5]
    devices += [(12, 0), (7, 5), (12, 0)]
    assert built() == ["sm_75", "sm_120"]
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0 9.0+PTX")
    assert built() == ["sm_80", "sm_90", "compute_90"]
