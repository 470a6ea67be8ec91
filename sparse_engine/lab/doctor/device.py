"""GPUs, and whether torch and the kernels are built for them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from sparse_engine.lab.doctor.report import Report

#: Least compute capability for which kernels are built by default.
LEAST = (7, 5)
DRIVER = Path("/proc/driver/nvidia/version")


def check(report: Report) -> None:
    """Add the CUDA builds and the devices; find what keeps a GPU from being used."""
    try:
        import torch

        built = import_module("sparse_engine.ops._dispatch.native").built_with_cuda()
    except (ImportError, OSError):  # a finding of an earlier check
        return
    report.facts["torch_cuda"] = torch.version.cuda
    report.facts["built_with_cuda"] = built
    there = torch.cuda.is_available()
    devices = [
        torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count() * there)
    ]
    report.facts["devices"] = [
        f"{each.name} (compute capability {each.major}.{each.minor}, "
        f"{each.total_memory / 2**30:.0f} GiB)"
        for each in devices
    ]
    capabilities = [(each.major, each.minor) for each in devices]
    compare(report, torch_cuda=torch.version.cuda, built=built, capabilities=capabilities)


def compare(
    report: Report,
    *,
    torch_cuda: str | None,
    built: bool,
    capabilities: list[tuple[int, int]],
    driver: Path = DRIVER,
) -> None:
    """Add findings on what torch, the kernels and the devices make of each other.

    Args:
        report: report to add to.
        torch_cuda: CUDA version of torch, or None.
        built: whether the kernels were built with CUDA.
        capabilities: compute capability of each device that torch sees.
        driver: file that NVIDIA's driver shows when it is loaded.
    """
    if driver.exists() and torch_cuda is None:
        report.slow(
            "there is an NVIDIA driver, and torch is built without CUDA",
            "install a CUDA build of torch, then build the kernels again with nvcc (make cuda)",
        )
    elif driver.exists() and not capabilities:
        report.slow(
            f"there is an NVIDIA driver, and torch with CUDA {torch_cuda} finds no device",
            "compare the CUDA version in nvidia-smi with torch's, and look at CUDA_VISIBLE_DEVICES",
        )
    elif capabilities and not built:
        report.slow(
            "torch has a GPU, and the kernels are built without CUDA",
            "install nvcc of torch's CUDA version, then build the kernels again (make cuda)",
        )
    old = [f"{major}.{minor}" for major, minor in capabilities if (major, minor) < LEAST]
    if built and old:
        report.slow(
            f"kernels are built for compute capability {LEAST[0]}.{LEAST[1]} and more by default, "
            f"found {', '.join(old)}",
            f"build with TORCH_CUDA_ARCH_LIST='{' '.join(old)}'",
        )
