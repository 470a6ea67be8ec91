"""Build sparse_engine against the stable ABIs of LibTorch and Python, graph kernels with Cython.

Ninja compiles every object: it shows progress, resumes an interrupted build, and compiles again
only what has changed. These environment variables decide what is built:

SPARSE_ENGINE_ISA_BUILD
    The instruction sets that kernels are compiled for: "native" (the default) for the best one of
    this processor, "all", or names such as "baseline,x86-64-v3". The library chooses among those
    that it holds when it is loaded.
SPARSE_ENGINE_CUDA
    0 or 1: whether the kernels of the GPU are linked in. By default they are where torch has CUDA
    and nvcc is found: in CUDA_HOME if that is set, else on the PATH, among the packages beside
    torch, or in /usr/local/cuda. TORCH_CUDA_ARCH_LIST says for which devices, by default those of
    this machine, or those of ARCHITECTURES on a machine without any.
SPARSE_ENGINE_SANITIZE
    1: compile for finding mistakes, with AddressSanitizer and UndefinedBehaviorSanitizer and
    objects of their own ("make sanitize").
MAX_JOBS
    How many compilers run at once, by default one for each processor.

The library for C programs is built into sparse_engine/c_library, with its header. "python setup.py
libraries" links the operations for C++ programs that use torch. Everything else about the package
is in pyproject.toml.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import ClassVar, NamedTuple

from setuptools import Command, Extension, setup
from setuptools.command.build_ext import build_ext

try:
    import Cython  # noqa: F401
    import torch
    from ninja.ninja_syntax import Writer, escape
    from torch.utils.cpp_extension import include_paths, library_paths
except ImportError as error:
    sys.exit(
        f"sparse_engine builds with the torch, Cython and ninja that are installed: {error}.\n"
        "Install them first (pip install torch 'cython>=3.1' ninja), then: "
        "pip install --no-build-isolation ."
    )

SANITIZE = os.environ.get("SPARSE_ENGINE_SANITIZE") == "1"
BUILD = Path("build/sanitize/objects" if SANITIZE else "build/objects")
LIBRARIES = BUILD.with_name("libraries")
C_SOURCES, C_LIBRARY = Path("csrc/c_library"), LIBRARIES / "libsparse_engine.so"
TORCH_LIBRARY = LIBRARIES / "libsparse_engine_torch.so"

#: Where NVIDIA installs CUDA.
TOOLKIT = Path("/usr/local/cuda")
SOURCES = {path.stem: path for path in Path("csrc/cpu").rglob("*.cpp")}
# Those that are compiled for each instruction set and each type of numbers, those
# that take longest first.
NOT_IN_BFLOAT16 = ("normed_lstm", "normed_rnn", "conductance", "lif")
ONLY_IN_FLOAT32 = ("quantized_linear", "quantized_sequence")
KERNELS = (
    *("gated", "on_lstm", "rhn", "rnn", "continuous", "ltc", "influence"),
    *(*NOT_IN_BFLOAT16, *ONLY_IN_FLOAT32, "linear", "sddmm", "spmm", "table"),
)
# The types of values and sums, and of activations.
WIDE = (("float", "float"), ("double", "double"))
BFLOAT16 = ("float", "BFloat16")


class InstructionSet(NamedTuple):
    """An instruction set of the processor.

    Attributes:
        macros: what the compiler defines where the processor has the instruction set.
        tags: the tags in C++ of the kernels that it uses, those of float32 and float64 and those
            of bfloat16.
    """

    macros: tuple[str, ...]
    tags: tuple[str, str]


TAGS = {
    "Baseline": "",
    "V3": "-march=x86-64-v3",
    "V4": "-march=x86-64-v4",
    "V4Bf16": "-march=x86-64-v4 -mavx512bf16",
}
INSTRUCTION_SETS = {"baseline": InstructionSet((), ("Baseline", "Baseline"))}
if platform.machine() in ("x86_64", "AMD64"):
    avx2 = ("__AVX2__", "__FMA__", "__BMI2__")
    avx512 = (*avx2, *(f"__AVX512{part}__" for part in ("F", "BW", "DQ", "VL", "CD")))
    INSTRUCTION_SETS |= {
        "x86-64-v3": InstructionSet(avx2, ("V3", "V3")),
        "x86-64-v4": InstructionSet(avx512, ("V4", "V3")),
        "x86-64-v4-bf16": InstructionSet((*avx512, "__AVX512BF16__"), ("V4", "V4Bf16")),
    }

CXX = os.environ.get("CXX") or sysconfig.get_config_var("CXX").split()[0]
# What AddressSanitizer finds, too, is not looked for twice; its checks are calls: both halve the
# time that it takes to compile.
SANITIZERS = (
    "-fsanitize=address,undefined -fno-sanitize=null,alignment,object-size,vptr "
    "--param=asan-instrumentation-with-call-threshold=0"
)
OPTIMIZE = f"-O1 -g1 -fno-omit-frame-pointer {SANITIZERS}" if SANITIZE else "-O3"
CXX_FLAGS = f"-std=c++17 {OPTIMIZE} -fopenmp -fPIC -fvisibility=hidden -Wall -Wextra"
# Without -fopenmp: the functions of OpenMP are those of the library that torch has loaded, whatever
# its file is called, so that there is one pool of threads.
LINK_FLAGS = [
    "-Wl,--no-as-needed",
    "-ltorch_cpu",
    "-lc10",
    *(SANITIZERS.split() if SANITIZE else []),
]
# Less code in a fifth less time, and steps that take up to a twentieth longer: for float64 alone.
SMALL_CODE = "-fno-tree-vectorize -fno-unswitch-loops -fno-ipa-cp-clone -fno-split-loops"
PYTHON_FLAGS = "-DPy_LIMITED_API=0x030A0000"
TORCH_FLAGS = f"{PYTHON_FLAGS} -DTORCH_TARGET_VERSION=0x020a000000000000"
NVCC_FLAGS = "-std=c++17 -O3 -Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra"


# From a T4 to an RTX 50, and by PTX what is made later; left out where nvcc does not know them.
ARCHITECTURES = ("7.5", "8.0", "8.6", "9.0+PTX", "12.0+PTX")

# Files called gated.* or continuous.* are compiled once for each of these cells: name and class.
CELLS = {
    kind: re.findall(
        r"each\((\w+), (\w+)\)", Path(f"csrc/include/sparse_engine/{kind}.h").read_text()
    )
    for kind in ("gated", "continuous")
}


def versions(source: Path) -> dict[str, str]:
    """Return the versions of a file that are compiled, by name: the flags of each."""
    if source.stem not in CELLS:
        return {source.stem: ""}
    return {
        name: f"-DSPARSE_ENGINE_CELL={name} -DSPARSE_ENGINE_CELL_CLASS={kind}"
        for name, kind in CELLS[source.stem]
    }


def native() -> str:
    """Name the best instruction set that the compiler finds on this processor."""
    command = [*CXX.split(), "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    found = subprocess.run(command, check=False, capture_output=True, text=True).stdout.split()
    return [name for name, each in INSTRUCTION_SETS.items() if {*each.macros} <= {*found}][-1]


def instruction_sets() -> list[str]:
    """Name the instruction sets to build, as SPARSE_ENGINE_ISA_BUILD says."""
    wanted = os.environ.get("SPARSE_ENGINE_ISA_BUILD") or "native"
    if wanted == "native":
        return [native()]
    names = [*INSTRUCTION_SETS] if wanted == "all" else wanted.split(",")
    if not {*names} <= {*INSTRUCTION_SETS}:
        sys.exit(
            "expected SPARSE_ENGINE_ISA_BUILD to be native, all, or some of "
            f"{','.join(INSTRUCTION_SETS)}, found {wanted!r}"
        )
    return names


def find_nvcc() -> str | None:
    """Return the path of nvcc, or None."""
    beside_torch = (Path(torch.__file__).parents[1] / "nvidia").glob("*/bin")
    if home := os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH"):
        places = [Path(home, "bin")]
    else:
        places = [*map(Path, os.get_exec_path()), *sorted(beside_torch), TOOLKIT / "bin"]
    return shutil.which("nvcc", path=os.pathsep.join(map(str, places)))


def asked(*options: str) -> str:
    """Return what nvcc prints."""
    done = subprocess.run([NVCC, *options], check=False, capture_output=True, text=True)
    return done.stdout + done.stderr


def toolkit_libraries() -> list[str]:
    """Return the folders with the libraries of nvcc's toolkit, which a script may have called."""
    top = re.search(r"^#\$ TOP=(.+)$", asked("--dryrun", "-x", "cu", os.devnull), re.MULTILINE)
    home = Path(top[1] if top else NVCC, "" if top else "../..").resolve()
    return [str(each) for each in (home / "lib64", home / "lib") if each.is_dir()]


def check_compiler(printed: str) -> None:
    """Raise SystemExit unless nvcc, by what it printed about its version, fits torch."""
    found = re.search(r"release (\d+)\.", printed)
    wanted = torch.version.cuda.split(".")[0]
    if found is None or found[1] != wanted:
        sys.exit(
            f"expected nvcc of CUDA {wanted}, as torch {torch.__version__} has it, found "
            f"{f'CUDA {found[1]}' if found else repr(printed)} at {NVCC}. Install a torch for that "
            f"CUDA, or set CUDA_HOME to a toolkit of CUDA {wanted}, or build without kernels for "
            "GPUs: SPARSE_ENGINE_CUDA=0"
        )


def cuda_is_wanted() -> bool:
    """Tell whether the kernels of the GPU are built, as SPARSE_ENGINE_CUDA says."""
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


def architectures() -> str:
    """Return nvcc's flags for a list of devices such as "8.0;9.0+PTX"."""
    flags, known = [], re.findall(r"compute_(\d+)", asked("--list-gpu-arch"))
    here = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    names = [f"{major}.{minor}" for major, minor in sorted(here)]
    if chosen := os.environ.get("TORCH_CUDA_ARCH_LIST"):
        names = chosen.replace(";", " ").split()
    elif not names:
        names = [n for n in ARCHITECTURES if n.removesuffix("+PTX").replace(".", "") in known]
    for name in names:
        number = name.removesuffix("+PTX").replace(".", "")
        kinds = ["sm", "compute"] if name.endswith("+PTX") else ["sm"]
        flags += [f"-gencode=arch=compute_{number},code={kind}_{number}" for kind in kinds]
    return " ".join(flags)


NVCC = find_nvcc()
CUDA = cuda_is_wanted()
if CUDA:
    check_compiler(asked("--version"))
LIBRARY_PATHS = [*library_paths(), *(toolkit_libraries() if CUDA else [])]
# The runtime of CUDA is linked in: that beside torch is where the loader would not look for it.
CUDA_LIBRARIES = ["torch_cuda", "cudart_static", "rt", "pthread", "dl"]
TORCH_LIBRARIES = ["c10", "torch", "torch_cpu", *(CUDA_LIBRARIES if CUDA else [])]
CYTHON = {
    f"sparse_engine.{path.parent.name}.{path.stem}": path
    for path in sorted(Path("sparse_engine").glob("*/*.pyx"))
}


class NinjaFile:
    """The file by which ninja compiles all objects.

    Attributes:
        objects: the objects of each extension.
    """

    def __init__(self, path: Path) -> None:
        self.objects: dict[str, list[str]] = {}
        with open(path, "w") as file:
            self.ninja = Writer(file)
            self.write_rules()
            self.write_kernels()
            self.write_library()
            for extension, source in CYTHON.items():
                cpp = str(BUILD / f"{source.stem}.cpp")
                self.ninja.build(
                    cpp,
                    "cython",
                    str(source),
                    [*map(str, source.parent.glob("*.pxd"))],
                    variables={"what": str(source)},
                )
                self.compile(extension, cpp, source.stem, PYTHON_FLAGS)
            self.write_libraries()
            built = [each for every in self.objects.values() for each in every]
            self.ninja.default([*built, str(C_LIBRARY)])

    def write_rules(self) -> None:
        """Write how ninja calls each compiler."""
        self.ninja.variable("builddir", str(BUILD))
        system = [*include_paths(), sysconfig.get_path("include")]
        self.ninja.variable("includes", "-Icsrc -Icsrc/include -Icsrc/cpu -Icsrc/cuda -Icsrc/graph")
        self.ninja.variable("system", " ".join(f"-isystem {escape(path)}" for path in system))
        compilers = {"cxx": f"{CXX} {CXX_FLAGS}"}
        if CUDA:
            compilers["nvcc"] = f"{NVCC} {NVCC_FLAGS} {architectures()}"
        for name, compiler in compilers.items():
            command = f"{compiler} $flags $includes $system -MMD -MF $out.d -c $in -o $out"
            self.ninja.rule(name, command, depfile="$out.d", deps="gcc", description="$what")
        sanitizers = SANITIZERS if SANITIZE else ""
        link = f"{CXX} -shared $in -o $out {sanitizers} $flags"
        self.ninja.rule("link", link, description="$out")
        cython = f"{escape(sys.executable)} -m cython --cplus -3 $in -o $out"
        self.ninja.rule("cython", cython, description="$what")

    def compile_versions(self, source: Path, what: str, flags: str = "", rule: str = "cxx") -> None:
        """Make the objects of a file of the library; ``what`` has ``{}`` in place of the name."""
        for name, own in versions(source).items():
            self.compile("sparse_engine._C", source, what.format(name), f"{flags} {own}", rule)

    def compile(
        self, extension: str, source: str | Path, what: str, flags: str = "", rule: str = "cxx"
    ) -> None:
        """Make an object of an extension; the progress names it ``what``."""
        target = str(BUILD / f"{what.replace(' ', '-')}.o")
        self.ninja.build(target, rule, str(source), variables={"flags": flags, "what": what})
        self.objects.setdefault(extension, []).append(target)

    def write_kernels(self) -> None:
        """Compile the kernels of the processor for every instruction set that is wanted."""
        sets = [INSTRUCTION_SETS[name].tags for name in instruction_sets()]
        wanted = {(tag, numbers) for tag, _ in sets for numbers in WIDE}
        wanted |= {(tag, BFLOAT16) for _, tag in sets}
        for kernel in KERNELS:
            for tag, (real, kept) in sorted(wanted):
                if (real, kept) == BFLOAT16 and kernel in NOT_IN_BFLOAT16:
                    continue
                if kept != "float" and kernel in ONLY_IN_FLOAT32:
                    continue
                numbers = f"-DSPARSE_ENGINE_REAL={real} -DSPARSE_ENGINE_KEPT={kept}"
                flags = f"{TAGS[tag]} -DSPARSE_ENGINE_ISA={tag} {numbers}"
                flags += f" {SMALL_CODE}" if real == "double" else ""
                self.compile_versions(SOURCES[kernel], f"{{}} {tag} {kept}", flags)
                if kernel == "table":
                    own = C_SOURCES / "kernels.cpp"
                    self.compile("c-library", own, f"c-library kernels {tag} {kept}", flags)

    def write_library(self) -> None:
        """Compile the rest of the library: what every instruction set shares, bindings, CUDA."""
        macros = [
            name.replace("x86-64-", "").replace("-", "").upper() for name in instruction_sets()
        ]
        built = " ".join(f"-DSPARSE_ENGINE_WITH_{macro}" for macro in macros)
        cuda = "-DUSE_CUDA -DSPARSE_ENGINE_WITH_CUDA" if CUDA else ""
        for source in sorted(SOURCES.values()):
            if source.stem not in KERNELS:
                self.compile_versions(source, "cpu {}", built)
        for source in sorted(Path("csrc/bindings").glob("*.cpp")):
            self.compile_versions(source, "bindings {}", f"{TORCH_FLAGS} {cuda}")
        for source in sorted(Path("csrc/cuda").rglob("*.cu")) if CUDA else ():
            self.compile_versions(source, "cuda {}", rule="nvcc")

    def write_libraries(self) -> None:
        """Link what programs without Python use."""
        built = self.objects["sparse_engine._C"]
        for source in sorted({*C_SOURCES.glob("*.cpp")} - {C_SOURCES / "kernels.cpp"}):
            self.compile("c-library", source, f"c-library {source.stem}")
        # It has kernels.cpp in place of the table, and of the kernels those that are named there.
        without = ("/bindings-", "/cuda-", "/table-")
        kernels = [each for each in built if not any(part in each for part in without)]
        c_library = [*kernels, *self.objects.pop("c-library")]
        c_flags = "-fopenmp -Wl,--no-undefined -Wl,--gc-sections -Wl,--strip-all"
        torch_flags = [f"-L{path} -Wl,-rpath,{path}" for path in LIBRARY_PATHS]
        torch_flags += [f"-l{name}" for name in TORCH_LIBRARIES]
        operations = [each for each in built if not each.endswith("/bindings-module.o")]
        for target, objects, flags in (
            (C_LIBRARY, c_library, c_flags),
            (TORCH_LIBRARY, operations, " ".join(torch_flags)),
        ):
            self.ninja.build(str(target), "link", objects, variables={"flags": flags})


def run_ninja(*targets: str) -> dict[str, list[str]]:
    """Build targets, by default the C library and all objects of extensions, which it returns."""
    BUILD.mkdir(parents=True, exist_ok=True)
    objects = NinjaFile(BUILD / "build.ninja").objects
    jobs = os.environ.get("MAX_JOBS") or str(os.cpu_count() or 1)
    command = [sys.executable, "-m", "ninja", "-f", str(BUILD / "build.ninja"), "-j", jobs]
    environment = {"NINJA_STATUS": "[%f of %t, %e s] "} | os.environ
    if subprocess.run([*command, *targets], env=environment, check=False).returncode:
        sys.exit("sparse_engine was not built: the compiler says why above")
    return objects


class Libraries(Command):
    """Link libsparse_engine_torch.so."""

    description = f"link the operations for C++ programs that use torch into {TORCH_LIBRARY}"
    user_options: ClassVar[list] = []

    def initialize_options(self) -> None:
        pass

    def finalize_options(self) -> None:
        pass

    def run(self) -> None:
        run_ninja(str(TORCH_LIBRARY))


class NinjaBuild(build_ext):
    """Compile all objects with ninja, link extensions as setuptools does, add the C library."""

    def run(self) -> None:
        super().run()
        folder = Path("" if self.inplace else self.build_lib) / "sparse_engine" / C_SOURCES.name
        for file in (C_LIBRARY, C_SOURCES / "sparse_engine.h"):
            shutil.copy2(file, folder)

    def build_extensions(self) -> None:
        """Build every extension."""
        objects = run_ninja()
        for extension in self.extensions:
            extension.extra_objects = extension.depends = objects[extension.name]
        super().build_extensions()


def extension(name: str, *libraries: str) -> Extension:
    """Return an extension for every version of Python from 3.10 on."""
    return Extension(
        name,
        [],
        language="c++",
        extra_link_args=LINK_FLAGS,
        library_dirs=LIBRARY_PATHS,
        libraries=[*libraries],
        py_limited_api=True,
    )


setup(
    ext_modules=[
        extension("sparse_engine._C", *(CUDA_LIBRARIES if CUDA else [])),
        *map(extension, CYTHON),
    ],
    cmdclass={"build_ext": NinjaBuild, "libraries": Libraries},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
