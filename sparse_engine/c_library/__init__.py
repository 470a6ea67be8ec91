"""The C library: sparse recurrent networks in programs without PyTorch and Python.

The folder of this package has ``libsparse_engine.so`` and its header, ``sparse_engine.h``.
"""

from __future__ import annotations

from pathlib import Path


def flags() -> str:
    """Return what a C compiler needs to build and link a program that uses the library.

    The program finds the library where it is now; link with another ``-rpath`` to move it.

    Raises:
        FileNotFoundError: the package is not built.

    Example:
        >>> print(flags())  # also: sparse-engine --c-flags
        -I/.../sparse_engine/c_library -L/... -Wl,-rpath,/... -lsparse_engine
    """
    folder = Path(__file__).resolve().parent
    for name in ("libsparse_engine.so", "sparse_engine.h"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"expected {name} in {folder}, found none; build the package")
    return f"-I{folder} -L{folder} -Wl,-rpath,{folder} -lsparse_engine"
