"""Builds that setup.py refuses."""

import re
import runpy
from pathlib import Path

import pytest
import setuptools
import torch
from torch.utils import cpp_extension

SETUP = Path(__file__).resolve().parents[1] / "setup.py"


@pytest.fixture
def run_setup(monkeypatch, tmp_path):
    """Run setup.py with a torch of one CUDA and an nvcc that prints this; return what it builds."""

    def run(of_torch: str, printed: str) -> setuptools.Extension:
        nvcc = tmp_path / "bin/nvcc"
        nvcc.parent.mkdir()
        nvcc.write_text(f"#!/bin/sh\necho '{printed}'\n")
        nvcc.chmod(0o755)
        given = {}
        monkeypatch.chdir(SETUP.parent)
        monkeypatch.setattr(setuptools, "setup", given.update)
        monkeypatch.setattr(torch.version, "cuda", of_torch)
        monkeypatch.setattr(cpp_extension, "CUDA_HOME", str(tmp_path))
        monkeypatch.setenv("SPARSE_ENGINE_CUDA", "1")
        runpy.run_path(str(SETUP))
        return given["ext_modules"][0]

    return run


def test_an_nvcc_of_another_cuda_than_torch_has_is_refused(run_setup):
    with pytest.raises(SystemExit, match=re.escape("expected nvcc of CUDA 12")):
        run_setup("12.8", "Cuda compilation tools, release 13.0, V13.0.88")


def test_an_nvcc_that_says_nothing_is_refused(run_setup):
    with pytest.raises(SystemExit, match="expected nvcc of CUDA 12"):
        run_setup("12.8", "")


def test_the_runtime_of_cuda_is_linked_in(run_setup):
    extension = run_setup("13.0", "Cuda compilation tools, release 13.0, V13.0.88")
    assert "cudart_static" in extension.libraries and "cudart" not in extension.libraries
