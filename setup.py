"""Builds sparse_engine._C against the stable ABI of LibTorch, and the graph kernels with Cython.

The kernel files of _C are compiled once per instruction set and linked together; the library
chooses among them when it is loaded. A kernel is compiled again where it, a header that it includes
or a flag has changed. Where torch has CUDA and nvcc is found, the kernels of the GPU are linked in,
too; SPARSE_ENGINE_CUDA=0 or 1 decides otherwise, TORCH_CUDA_ARCH_LIST for which devices. Everything
else about the package is in pyproject.toml.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup

try:
    import torch
    from Cython.Build import cythonize
    from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, library_paths
except ImportError as error:
    sys.exit(
        f"sparse_engine builds with the torch and the Cython that are installed: {error}.\n"
        "Install them first (pip install torch 'cython>=3.1' ninja), then: "
        "pip install --no-build-isolation ."
    )

KERNELS = (
    "spmm",
    "sddmm",
    "linear",
    "rnn",
    "lstm",
    "gru",
    "ctrnn",
    "rhn",
    "on_lstm",
    "conductance",
    "ltc",
    "normed_rnn",
    "normed_lstm",
    "table",
)
# Those that also take activations in bfloat16.
NARROW_KERNELS = (
    "spmm",
    "sddmm",
    "linear",
    "rnn",
    "lstm",
    "gru",
    "ctrnn",
    "rhn",
    "on_lstm",
    "ltc",
    "table",
)
INSTRUCTION_SETS = {"Baseline": []}
NARROW_INSTRUCTION_SETS = {}
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTION_SETS |= {"V3": ["-march=x86-64-v3"], "V4": ["-march=x86-64-v4"]}
    NARROW_INSTRUCTION_SETS |= {
        "V4Bf16": ["-march=x86-64-v4", "-mavx512bf16", "-DSPARSE_ENGINE_ONLY_NARROW"]
    }

CXX_FLAGS = ["-std=c++17", "-O3", "-fopenmp", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
INCLUDES = ["csrc/include", "csrc/cpu"]
GRAPH_INCLUDES = ["csrc/include", "csrc/graph"]


NVCC = os.path.join(CUDA_HOME, "bin", "nvcc") if CUDA_HOME else shutil.which("nvcc")
NVCC_FLAGS = ["-std=c++17", "-O3", "-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra"]


def cuda_is_wanted() -> bool:
    choice = os.environ.get("SPARSE_ENGINE_CUDA", "")
    if choice not in ("", "0", "1"):
        sys.exit(f"expected SPARSE_ENGINE_CUDA to be 0 or 1, found {choice!r}")
    missing = [
        what
        for what, found in (("a CUDA build of torch", torch.version.cuda), ("nvcc", NVCC))
        if not found
    ]
    if choice == "1" and missing:
        sys.exit(f"SPARSE_ENGINE_CUDA=1 needs {' and '.join(missing)}, which was not found")
    return choice != "0" and not missing


def architectures() -> list[str]:
    """For nvcc, from a list such as "8.0;9.0+PTX"."""
    flags = []
    for name in os.environ.get("TORCH_CUDA_ARCH_LIST", "8.0;8.6;9.0+PTX").replace(";", " ").split():
        number = name.removesuffix("+PTX").replace(".", "")
        kinds = ["sm", "compute"] if name.endswith("+PTX") else ["sm"]
        flags += [f"-gencode=arch=compute_{number},code={kind}_{number}" for kind in kinds]
    return flags


CUDA = cuda_is_wanted()


class BuildKernels(BuildExtension):
    """Compiles the kernel files, for every instruction set, before the extension itself."""

    def finalize_options(self):
        super().finalize_options()
        self.build_temp = "build/objects"  # pip's would be another one each time

    def build_extension(self, ext):
        if ext.name == "sparse_engine._C":
            self.compile_kernels(ext)
        super().build_extension(ext)

    def compile_kernels(self, ext):
        jobs = [
            (self.compile_for_cpu, kernel, isa, flags)
            for kernels, sets in (
                (KERNELS, INSTRUCTION_SETS),
                (NARROW_KERNELS, NARROW_INSTRUCTION_SETS),
            )
            for kernel in kernels
            for isa, flags in sets.items()
        ]
        if CUDA:
            jobs += [(self.compile_for_cuda, source) for source in Path("csrc/cuda").glob("*.cu")]
        with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS", os.cpu_count() or 1))) as pool:
            ext.extra_objects = [*pool.map(lambda job: job[0](*job[1:]), jobs)]

    def compile_for_cpu(self, kernel: str, isa: str, isa_flags: list[str]) -> str:
        compiler = os.environ.get("CXX") or sysconfig.get_config_var("CXX").split()[0]
        flags = [*CXX_FLAGS, *isa_flags, f"-DSPARSE_ENGINE_ISA={isa}"]
        return self.compile(
            Path(f"csrc/cpu/{kernel}.cpp"), f"{kernel}-{isa}.o", [*compiler.split(), *flags]
        )

    def compile_for_cuda(self, source: Path) -> str:
        return self.compile(source, f"{source.stem}-cuda.o", [NVCC, *NVCC_FLAGS, *architectures()])

    def compile(self, source: Path, name: str, command: list[str]) -> str:
        target = Path(self.build_temp, "kernels", name)
        target.parent.mkdir(parents=True, exist_ok=True)
        includes = [f"-I{path}" for path in INCLUDES]
        dependencies = ["-MMD", "-MF", str(target.with_suffix(".d"))]
        files = ["-c", str(source), "-o", str(target)]
        command = [*command, *includes, *dependencies, *files]
        if not is_current(target, command):
            target.with_suffix(".command").unlink(missing_ok=True)
            subprocess.run(command, check=True)
            target.with_suffix(".command").write_text(shlex.join(command))
        return str(target)


def is_current(target: Path, command: list[str]) -> bool:
    """Whether this command made the object, and no file that it read has changed since."""
    try:
        made_by = target.with_suffix(".command").read_text()
        # "name.o: name.cpp one.h \\\n other.h", as make reads it; nvcc writes "name.o : name.cu".
        _, _, read = target.with_suffix(".d").read_text().replace("\\\n", "").partition(": ")
        newest = max(Path(file).stat().st_mtime for file in shlex.split(read))
        return made_by == shlex.join(command) and newest < target.stat().st_mtime
    except FileNotFoundError:
        return False


shared_sources = sorted(
    str(path) for path in Path("csrc/cpu").glob("*.cpp") if path.stem not in KERNELS
)

setup(
    ext_modules=[
        CppExtension(
            "sparse_engine._C",
            [*shared_sources, *sorted(map(str, Path("csrc/bindings").glob("*.cpp")))],
            include_dirs=[str(Path(path).resolve()) for path in INCLUDES],
            extra_compile_args=[
                *CXX_FLAGS,
                "-DPy_LIMITED_API=0x030A0000",
                "-DTORCH_TARGET_VERSION=0x020a000000000000",
                *(["-DUSE_CUDA", "-DSPARSE_ENGINE_WITH_CUDA"] if CUDA else []),
            ],
            extra_link_args=["-fopenmp"],
            library_dirs=library_paths(device_type="cuda") if CUDA else [],
            libraries=["torch_cuda", "cudart"] if CUDA else [],
            py_limited_api=True,
        ),
        *cythonize(
            [
                Extension(
                    f"sparse_engine.analysis.{path.stem}",
                    [str(path)],
                    depends=sorted(map(str, Path("csrc/graph").glob("*.h"))),
                    include_dirs=[str(Path(each).resolve()) for each in GRAPH_INCLUDES],
                    language="c++",
                    extra_compile_args=CXX_FLAGS,
                    extra_link_args=["-fopenmp"],
                )
                for path in sorted(Path("sparse_engine/analysis").glob("*.pyx"))
            ],
            build_dir="build",
            language_level=3,
        ),
    ],
    cmdclass={"build_ext": BuildKernels},
)
