"""The kernels of the GPU: compiled as C++ and run on the CPU, and where there is one, on a GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from testing import versions_of
from torch.utils.cpp_extension import include_paths, library_paths

ROOT = Path(__file__).resolve().parents[3]
SHIM = ROOT / "tests/exhaustive/cuda/shim"
CXX = os.environ.get("CXX", "g++").split()
FLAGS = [
    *("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"),
    "-Wno-unknown-pragmas",
    "-fopenmp",
    *("-DTORCH_TARGET_VERSION=0x020a000000000000", "-DUSE_CUDA", "-DSPARSE_ENGINE_WITH_CUDA"),
    *(
        f"-I{path}"
        for path in (
            SHIM,
            *(ROOT / folder for folder in ("csrc", "csrc/include", "csrc/cpu", "csrc/cuda")),
        )
    ),
    *(f"-isystem{path}" for path in include_paths()),
]
HEADERS = [
    path
    for folder in ("csrc", "tests/exhaustive/cuda/shim")
    for path in (ROOT / folder).rglob("*.*h")
    if path.suffix in (".h", ".cuh")
]


def sources() -> list[Path]:
    """The kernels, their bindings, and what stands in for a GPU."""
    bindings = [
        "cuda",
        "products",
        "linear",
        "rnn",
        "gated",
        "continuous",
        "conductance",
        "ltc",
        "rhn",
    ]
    bindings += ["on_lstm", "normed"]
    # What bindings refer to on the CPU.
    cpu = ["memory", "links", "check", "trials", "pattern"]
    return [
        *sorted((ROOT / "csrc/cuda").rglob("*.cu")),
        *(ROOT / f"csrc/bindings/{name}.cpp" for name in bindings),
        *(path for path in (ROOT / "csrc/cpu").rglob("*.cpp") if path.stem in cpu),
        *sorted(SHIM.glob("*.cpp")),
    ]


def is_fresh(target: Path, depends: list[Path]) -> bool:
    """Whether ``target`` is newer than all it depends on."""
    if not target.exists():
        return False
    return all(path.stat().st_mtime < target.stat().st_mtime for path in depends)


def compile_simulated(version: tuple[Path, str, list[str]]) -> Path:
    """One object file, kept between runs in build/."""
    source, name, flags = version
    parts = source.relative_to(ROOT).with_name(name).parts
    target = ROOT / "build/simulated" / f"{'-'.join(parts)}.o"
    if is_fresh(target, [source, Path(__file__), *HEADERS]):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    registers = source.parent.name == "bindings" and source.stem != "cuda"
    compiler = [*CXX, *FLAGS, *flags]
    command = [*compiler, "-x", "c++", "-c", source, "-o", target]
    subprocess.run([*command, *(["-include", SHIM / "torch.h"] if registers else [])], check=True)
    return target


@pytest.fixture(scope="session")
def simulated_library() -> Path:
    """The shared library, compiled where something has changed."""
    if shutil.which(CXX[0]) is None:
        pytest.skip("no C++ compiler")
    with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS", os.cpu_count() or 1))) as pool:
        parts = [
            (source, name, flags)
            for source in sources()
            for name, flags in versions_of(source).items()
        ]
        objects = [*pool.map(compile_simulated, parts)]
    library = ROOT / "build/simulated/simulated.so"
    if not is_fresh(library, objects):
        paths = [f"-L{path}" for path in library_paths()]
        libraries = [*paths, "-ltorch", "-ltorch_cpu", "-lc10", "-Wl,-Bsymbolic,--no-undefined"]
        subprocess.run(
            ["g++", "-shared", "-fopenmp", "-o", library, *objects, *libraries], check=True
        )
    return library


@pytest.fixture(scope="session")
def simulated(simulated_library):
    """The operations of the GPU, on CPU tensors: the same names and arguments as on the CPU."""
    torch.ops.load_library(simulated_library)
    return torch.ops.sparse_engine_simulated


class Device:
    """The operations of a GPU, on CPU tensors."""

    def __init__(self, run) -> None:
        self.run = run

    def __getattr__(self, name: str):
        return lambda *arguments: self.run(name, arguments)


@pytest.fixture(
    scope="session", params=["simulated", *(["on_device"] if torch.cuda.is_available() else [])]
)
def gpu(request):
    """The operations on a simulated GPU and, where there is one, on a real one."""
    if request.param == "simulated":
        return request.getfixturevalue("simulated")
    return request.getfixturevalue("on_gpu_by_name")


@pytest.fixture(scope="session")
def on_gpu_by_name(on_gpu):
    """The operations on a real GPU."""
    return Device(on_gpu)


@pytest.fixture(autouse=True)
def _fresh_memory_is_nan():
    """An entry that a kernel leaves unwritten, or reads before it is written, shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
