"""The native library. Importing this module registers its operations with PyTorch."""

from __future__ import annotations

import torch

try:
    from sparse_engine import _C
except ImportError as error:
    raise ImportError(
        f"the native library of sparse_engine cannot be loaded ({error}). Build it with "
        "`pip install --no-build-isolation -e .` in the source folder, against the torch that "
        "is installed now."
    ) from error

native = torch.ops.sparse_engine
isa = _C.isa
