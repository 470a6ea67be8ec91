"""Native libraries and GPUs: whether kernels load and compute, and what they run on."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from sparse_engine.errors import MissingLibrary
from sparse_engine.lab.doctor.diagnosis import Diagnosis
from sparse_engine.machine import threads_within_quota

BUILD = (
    "build it for this torch and this processor: pip install --no-build-isolation "
    "--force-reinstall --no-deps sparse_engine, or in the source folder pip install "
    "--no-build-isolation -e ."
)
#: Instruction sets, from the one that runs everywhere to the best.
ORDER = ["baseline", "x86-64-v3", "x86-64-v4", "x86-64-v4-bf16"]
GRAPHS = ("_anneal", "_matching", "_triads")
#: Least compute capability for which kernels are built by default.
LEAST = (7, 5)
MAPS = Path("/proc/self/maps")
DRIVER = Path("/proc/driver/nvidia/version")


def check(diagnosis: Diagnosis) -> None:
    """Report builds, threads and devices of the kernels, and what does not load or compute."""
    try:
        import torch
    except (ImportError, OSError) as error:
        diagnosis.broken(f"torch cannot be imported: {_line(error)}", "pip install 'torch>=2.10'")
        return
    try:
        library = import_module("sparse_engine.ops._dispatch.native")
    except (ImportError, OSError) as error:
        diagnosis.broken(f"the kernels cannot be loaded: {_line(error)}", BUILD)
        return
    facts = diagnosis.facts
    facts["isa"] = library.isa()
    facts["built_for"] = built = library.built_isas().split(", ")
    _check_isa(diagnosis, library.isa(), built)
    facts["torch_threads"] = torch.get_num_threads()
    facts["quota_threads"] = quota = threads_within_quota()
    facts["threads"] = library.threads()
    _check_threads(diagnosis, torch.get_num_threads(), quota)
    facts["openmp"] = runtimes = openmp_runtimes(MAPS.read_text() if MAPS.exists() else "")
    if len(runtimes) > 1:
        diagnosis.slow(
            f"{len(runtimes)} OpenMP runtimes are loaded ({', '.join(runtimes)}), whose threads "
            "wait for each other's processors",
            "import torch before the library that brings another, or install both from one source",
        )
    _check_products(diagnosis, torch)
    _check_graphs(diagnosis)
    facts["torch_cuda"] = torch.version.cuda
    facts["built_with_cuda"] = library.built_with_cuda()
    devices = [
        torch.cuda.get_device_properties(i)
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    facts["devices"] = [
        f"{each.name} (compute capability {each.major}.{each.minor}, "
        f"{each.total_memory / 2**30:.0f} GiB)"
        for each in devices
    ]
    check_devices(
        diagnosis,
        torch_cuda=torch.version.cuda,
        built=library.built_with_cuda(),
        capabilities=[(each.major, each.minor) for each in devices],
        driver=DRIVER.exists(),
    )


def openmp_runtimes(maps: str) -> list[str]:
    """Return the OpenMP runtimes among the mapped files of a process, as in /proc/self/maps."""
    paths = {line.split()[-1] for line in maps.splitlines() if line.strip()}
    names = ("libgomp", "libiomp", "libomp")
    return sorted(path for path in paths if Path(path).name.startswith(names))


def _check_isa(diagnosis: Diagnosis, isa: str, built: list[str]) -> None:
    able = str(diagnosis.facts.get("processor_isa", isa))
    if isa not in ORDER or able not in ORDER or ORDER.index(isa) >= ORDER.index(able):
        return
    if able in built:
        diagnosis.slow(f"the kernels of {isa} run where {able} would", "unset SPARSE_ENGINE_ISA")
    else:
        diagnosis.slow(
            f"this processor has {able}, the kernels are built for {', '.join(built)}",
            "build the package again on this machine, or with SPARSE_ENGINE_ISA_BUILD=all",
        )


def _check_threads(diagnosis: Diagnosis, threads: int, quota: int | None) -> None:
    if quota is not None and threads > quota:
        diagnosis.slow(
            f"torch has {threads} threads, and the quota of the control group is {quota}: torch's "
            "own operations wait while the scheduler holds them back",
            f"set OMP_NUM_THREADS={quota}, or call torch.set_num_threads({quota})",
        )


def _check_products(diagnosis: Diagnosis, torch: Any) -> None:
    try:
        from sparse_engine import ops
        from sparse_engine.nn import SparseLinear

        generator = torch.Generator().manual_seed(0)
        weight = SparseLinear(40, 48, density=0.2, generator=generator).weight
        given = weight.values, weight.pattern, torch.randn(40, 17, generator=generator)
        difference = ops.spmm(*given) - ops.spmm.reference(*given)
        error = float(difference.detach().abs().max())
    except Exception as error_:  # whatever is wrong, the diagnosis has to name it
        diagnosis.broken(f"a product raises {type(error_).__name__}: {_line(error_)}", BUILD)
        return
    if not error < 1e-4:
        diagnosis.broken(f"a product differs from its reference implementation by {error:g}", BUILD)


def _check_graphs(diagnosis: Diagnosis) -> None:
    for name in GRAPHS:
        try:
            import_module(f"sparse_engine.analysis.{name}")
        except MissingLibrary:  # which the extras tell
            return
        except (ImportError, OSError) as error:
            diagnosis.broken(f"analysis.{name} cannot be loaded: {_line(error)}", BUILD)


def check_devices(
    diagnosis: Diagnosis,
    *,
    torch_cuda: str | None,
    built: bool,
    capabilities: list[tuple[int, int]],
    driver: bool,
) -> None:
    """Find what keeps a GPU from being used.

    Args:
        diagnosis: diagnosis to add to.
        torch_cuda: CUDA version of torch, or None.
        built: whether the kernels were built with CUDA.
        capabilities: compute capability of each device that torch sees.
        driver: whether NVIDIA's driver is loaded.
    """
    if driver and torch_cuda is None:
        diagnosis.slow(
            "there is an NVIDIA driver, and torch is built without CUDA",
            "install a CUDA build of torch, then build the kernels again with nvcc (make cuda)",
        )
    elif driver and not capabilities:
        diagnosis.slow(
            f"there is an NVIDIA driver, and torch with CUDA {torch_cuda} finds no device",
            "compare the CUDA version in nvidia-smi with torch's, and look at CUDA_VISIBLE_DEVICES",
        )
    elif capabilities and not built:
        diagnosis.slow(
            "torch has a GPU, and the kernels are built without CUDA",
            "install nvcc of torch's CUDA version, then build the kernels again (make cuda)",
        )
    old = [f"{major}.{minor}" for major, minor in capabilities if (major, minor) < LEAST]
    if built and old:
        diagnosis.slow(
            f"kernels are built for compute capability {LEAST[0]}.{LEAST[1]} and more by default, "
            f"found {', '.join(old)}",
            f"build with TORCH_CUDA_ARCH_LIST='{' '.join(old)}'",
        )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
