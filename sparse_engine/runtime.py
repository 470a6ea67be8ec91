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
        "threads": torch.get_num_threads(),
        "cuda": "built without CUDA",
    }
