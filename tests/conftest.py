"""Fixtures and settings of all tests."""

import os
from pathlib import Path

# Threads that wait by spinning take the processor from whatever else runs; read once, by torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch
from hypothesis import settings

settings.register_profile("default", max_examples=30, deadline=None, derandomize=True)
settings.load_profile("default")


@pytest.fixture(autouse=True, scope="session")
def _fresh_compile_cache(tmp_path_factory):
    """The cache of torch.compile on disk would not notice a change in our operations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def data() -> Path:
    """The folder of reference data; tests that need it are skipped where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SPARSE_ENGINE_DATA", beside))
    if not folder.is_dir():
        pytest.skip("no reference data: set SPARSE_ENGINE_DATA to its folder")
    return folder


@pytest.fixture
def threads():
    """Sets torch's thread count, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
