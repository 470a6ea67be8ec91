"""The bindings compile with CUDA against every version of torch whose headers are here.

`make torch-headers` gets those of the oldest version that is supported, and of others.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch
from testing import versions_of
from torch.utils.cpp_extension import include_paths

ROOT = Path(__file__).resolve().parents[3]
FLAGS = [
    *("-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"),
    "-fvisibility=hidden",
    *("-DPy_LIMITED_API=0x030A0000", "-DTORCH_TARGET_VERSION=0x020a000000000000"),
    *("-DUSE_CUDA", "-DSPARSE_ENGINE_WITH_CUDA"),
    *(f"-I{ROOT / folder}" for folder in ("csrc", "csrc/include", "csrc/cpu")),
    f"-isystem{sysconfig.get_path('include')}",
]
HEADERS = {
    torch.__version__: include_paths(),
    **{
        folder.name: [str(folder / "torch/include")]
        for folder in sorted((ROOT / "build/headers").glob("*"))
    },
}


@pytest.mark.parametrize("version", HEADERS)
@pytest.mark.parametrize("source", sorted((ROOT / "csrc/bindings").glob("*.cpp")), ids=str)
def test_bindings_compile(source, version):
    name, flags = next(iter(versions_of(source).items()))
    system = [f"-isystem{path}" for path in HEADERS[version]]
    compiler = os.environ.get("CXX", "g++").split()
    command = [*compiler, *FLAGS, *flags, *system, source]
    assert subprocess.run(command, check=False).returncode == 0, name
