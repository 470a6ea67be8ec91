"""The C library of the package."""

import ctypes
from pathlib import Path

import pytest

from sparse_engine import c_library

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(c_library.__file__).with_name("libsparse_engine.so")


@pytest.fixture(scope="session")
def library():
    """The library with the types of its functions."""
    found = ctypes.CDLL(str(LIBRARY))
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
