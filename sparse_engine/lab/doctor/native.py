"""Native libraries: whether they load and compute, and what they run with."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from sparse_engine.errors import MissingLibrary
from sparse_engine.lab.doctor.report import Report
from sparse_engine.machine import threads_within_quota

BUILD = (
    "build it for this torch and this processor: pip install --no-build-isolation "
    "--force-reinstall --no-deps sparse_engine, or in the source folder pip install "
    "--no-build-isolation -e ."
)
#: Instruction sets, from the one that runs everywhere to the best.
ORDER = ["baseline", "x86-64-v3", "x86-64-v4", "x86-64-v4-bf16"]
GRAPHS = ("_anneal", "_matching", "_triads")
MAPS = Path("/proc/self/maps")


def check(report: Report) -> None:
    """Add what the kernels were built for and run with; find what does not load or compute."""
    try:
        import torch
    except (ImportError, OSError) as error:
        report.broken(f"torch cannot be imported: {_line(error)}", "pip install 'torch>=2.10'")
        return
    try:
        library = import_module("sparse_engine.ops._dispatch.native")
    except (ImportError, OSError) as error:
        report.broken(f"the kernels cannot be loaded: {_line(error)}", BUILD)
        return
    report.facts["isa"] = library.isa()
    report.facts["built_for"] = built = library.built_isas().split(", ")
    _check_isa(report, library.isa(), built)
    quota = threads_within_quota()
    report.facts["torch_threads"] = torch.get_num_threads()
    report.facts["quota_threads"] = quota
    report.facts["threads"] = library.threads()
    _check_threads(report, torch.get_num_threads(), quota)
    report.facts["openmp"] = runtimes = openmp_runtimes(_maps())
    if len(runtimes) > 1:
        report.slow(
            f"{len(runtimes)} OpenMP runtimes are loaded ({', '.join(runtimes)}), whose threads "
            "wait for each other's processors",
            "import torch before the library that brings another, or install both from one source",
        )
    _check_products(report)
    _check_graphs(report)


def openmp_runtimes(maps: str) -> list[str]:
    """Return the OpenMP runtimes among the mapped files of a process, as in /proc/self/maps."""
    paths = {line.split()[-1] for line in maps.splitlines() if line.strip()}
    names = ("libgomp", "libiomp", "libomp")
    return sorted(path for path in paths if Path(path).name.startswith(names))


def _maps() -> str:
    try:
        return MAPS.read_text()
    except OSError:
        return ""


def _check_isa(report: Report, isa: str, built: list[str]) -> None:
    able = str(report.facts.get("processor_isa", isa))
    if isa not in ORDER or able not in ORDER or ORDER.index(isa) >= ORDER.index(able):
        return
    if able in built:
        report.slow(f"the kernels of {isa} run where {able} would", "unset SPARSE_ENGINE_ISA")
    else:
        report.slow(
            f"this processor has {able}, the kernels are built for {', '.join(built)}",
            "build the package again on this machine, or with SPARSE_ENGINE_ISA_BUILD=all",
        )


def _check_threads(report: Report, threads: int, quota: int | None) -> None:
    if quota is not None and threads > quota:
        report.slow(
            f"torch has {threads} threads, and the quota of the control group is {quota}: torch's "
            "own operations wait while the scheduler holds them back",
            f"set OMP_NUM_THREADS={quota}, or call torch.set_num_threads({quota})",
        )


def _check_products(report: Report) -> None:
    """Compare a small product with its reference implementation."""
    try:
        import torch

        from sparse_engine import ops
        from sparse_engine.nn import SparseLinear

        generator = torch.Generator().manual_seed(0)
        weight = SparseLinear(40, 48, density=0.2, generator=generator).weight
        x = torch.randn(40, 17, generator=generator)
        difference = ops.spmm(weight.values, weight.pattern, x) - ops.spmm.reference(
            weight.values, weight.pattern, x
        )
        error = float(difference.detach().abs().max())
    except Exception as error_:  # whatever is wrong, the report has to name it
        report.broken(f"a product raises {type(error_).__name__}: {_line(error_)}", BUILD)
        return
    if not error < 1e-4:
        report.broken(f"a product differs from its reference implementation by {error:g}", BUILD)


def _check_graphs(report: Report) -> None:
    for name in GRAPHS:
        try:
            import_module(f"sparse_engine.analysis.{name}")
        except MissingLibrary:  # which the extras tell
            return
        except (ImportError, OSError) as error:
            report.broken(f"analysis.{name} cannot be loaded: {_line(error)}", BUILD)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
