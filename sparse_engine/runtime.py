"""What this installation runs on."""

from __future__ import annotations

import platform

import torch

import sparse_engine
from sparse_engine.ops import _native


def info() -> dict[str, object]:
    """Versions, instruction set, threads and devices, as ``sparse-engine info`` prints them."""
    return {
        "sparse_engine": sparse_engine.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "isa": _native.isa(),
        "built_for": _native.built_isas(),
        "threads": torch.get_num_threads(),
        "cuda": cuda(),
    }


def cuda() -> str:
    """What GPU there is to run on, or why there is none."""
    if not _native.built_with_cuda():
        return "built without CUDA"
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no device"
