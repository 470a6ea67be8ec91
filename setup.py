"""Builds sparse_engine._C against the stable ABI of LibTorch, and the graph kernels with Cython.

The kernel files of _C are compiled once per instruction set and linked together; the library
chooses among them when it is loaded. Everything else about the package is in pyproject.toml.
"""

import os
import platform
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

try:
    from torch.utils.cpp_extension import BuildExtension, CppExtension
except ImportError:
    sys.exit(
        "sparse_engine builds against the torch that is installed, and found none.\n"
        "Install torch first (pip install torch), then: pip install --no-build-isolation ."
    )

KERNELS = (
    "spmm",
    "sddmm",
    "rnn",
    "lstm",
    "gru",
    "ctrnn",
    "rhn",
    "on_lstm",
    "conductance",
    "ltc",
    "table",
)
INSTRUCTION_SETS = {"Baseline": []}
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTION_SETS |= {"V3": ["-march=x86-64-v3"], "V4": ["-march=x86-64-v4"]}

CXX_FLAGS = ["-std=c++17", "-O3", "-fopenmp", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
INCLUDES = ["csrc/include", "csrc/cpu"]
GRAPH_INCLUDES = ["csrc/include", "csrc/graph"]


class BuildKernels(BuildExtension):
    """Compiles csrc/cpu's kernel files for every instruction set before the extension itself."""

    def build_extension(self, ext):
        if ext.name == "sparse_engine._C":
            self.compile_kernels(ext)
        super().build_extension(ext)

    def compile_kernels(self, ext):
        jobs = [(kernel, isa) for kernel in KERNELS for isa in INSTRUCTION_SETS]
        with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS", os.cpu_count() or 1))) as pool:
            ext.extra_objects = [*pool.map(lambda job: self.compile_kernel(*job), jobs)]

    def compile_kernel(self, kernel: str, isa: str) -> str:
        source = Path(f"csrc/cpu/{kernel}.cpp")
        target = Path(self.build_temp, "kernels", f"{kernel}-{isa}.o")
        depends = [source, Path("setup.py"), *Path("csrc").rglob("*.h")]
        if target.exists() and all(
            path.stat().st_mtime < target.stat().st_mtime for path in depends
        ):
            return str(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CXX") or sysconfig.get_config_var("CXX").split()[0]
        subprocess.run(
            [
                *compiler.split(),
                *CXX_FLAGS,
                *INSTRUCTION_SETS[isa],
                *(f"-I{path}" for path in INCLUDES),
                f"-DSPARSE_ENGINE_ISA={isa}",
                *("-c", str(source), "-o", str(target)),
            ],
            check=True,
        )
        return str(target)


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
            ],
            extra_link_args=["-fopenmp"],
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
