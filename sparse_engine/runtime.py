"""Description of this installation: the machine, versions, instruction set and devices."""

from __future__ import annotations

import platform

import torch

import sparse_engine
from sparse_engine import machine
from sparse_engine.ops._dispatch import native as _native


def info() -> dict[str, object]:
    """Return what a record of measurements says about where they were made.

    Returns:
        The facts of the machine (:func:`sparse_engine.machine.facts`), versions, the instruction
        set that runs and those that were built, threads and the GPU.
    """
    return {
        **machine.facts(),
        "sparse_engine": sparse_engine.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "isa": _native.isa(),
        "built_for": _native.built_isas(),
        "threads": _native.threads(),
        "cuda": cuda(),
    }


def cuda() -> str:
    """Return the name of the GPU, or why there is none."""
    if not _native.built_with_cuda():
        return "built without CUDA"
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no device"
