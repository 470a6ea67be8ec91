"""The C library, linked from the objects that the extension was linked from."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "build" / "libraries" / "libsparse_engine.so"


@pytest.fixture(scope="session")
def library_path():
    """The path of the library; the tests are skipped where it cannot be built."""
    if shutil.which("g++") is None or not (ROOT / "build" / "objects").is_dir():
        pytest.skip("needs g++ and the objects of the extension")
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "libraries", "--only", "libsparse_engine"],
        cwd=ROOT,
        check=True,
        env={"MAX_JOBS": "1"} | os.environ,
        capture_output=True,
    )
    return LIBRARY


@pytest.fixture(scope="session")
def library(library_path):
    """The library with the types of its functions."""
    found = ctypes.CDLL(str(library_path))
    pointer, size, text = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
    found.se_last_error.restype = text
    for name, arguments in {
        "se_open": [text, pointer],
        "se_recurrent_load": [pointer, text, ctypes.c_int, size, pointer],
        "se_recurrent_forward": [pointer, pointer, size, size, pointer, pointer, pointer],
        "se_recurrent_step": [pointer, pointer, size, pointer, pointer, pointer],
        "se_linear_load": [pointer, text, size, pointer],
        "se_linear_forward": [pointer, pointer, size, pointer],
    }.items():
        getattr(found, name).argtypes = arguments
    for name in ("input_size", "hidden_size", "layers"):
        getattr(found, f"se_recurrent_{name}").argtypes = [pointer]
        getattr(found, f"se_recurrent_{name}").restype = size
    for name in ("se_close", "se_recurrent_free", "se_linear_free"):
        getattr(found, name).argtypes = [pointer]
    return found
