"""Fixtures and settings of all tests."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# Threads that wait by spinning take the processor from whatever else runs; read once, by torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Without it, cuBLAS raises where deterministic algorithms are asked for.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import pytest
import torch
from hypothesis import settings
from testing import random_pattern
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.ops._dispatch.native import library, native

# Shells start what runs in the background with Ctrl-C ignored, and its children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Which way is quickest depends on what else runs; what is meant for three threads shall have them.
library.set_way("rows")

settings.register_profile("default", max_examples=30, deadline=None, derandomize=True)
settings.load_profile("default")


@pytest.fixture(autouse=True, scope="session")
def _fresh_compile_cache(tmp_path_factory):
    """The cache of torch.compile on disk would not notice a change in our operations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


PREFIX = "sparse_engine::"

# Folders whose tests run on a GPU, too, where there is one.
ON_DEVICES = {"contract", "kernels", "nn", "topology"}

#: Runs the operation of this name.
Run = Callable[[str, tuple], object]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = metafunc.definition.path.relative_to(Path(__file__).parent).parts[0]
    both = folder in ON_DEVICES and not metafunc.definition.get_closest_marker("cpu")
    if both and torch.cuda.is_available():
        metafunc.parametrize("device", ["cpu", "on_device"], indirect=True, scope="module")


@contextmanager
def running_by(run: Run) -> Iterator[None]:
    """All operations on CPU tensors, in this process, run by ``run``.

    What ``run`` has no kernel for, which it says by a ValueError or an AttributeError, runs as
    ever.
    """
    library = torch.library.Library("sparse_engine", "IMPL")
    names = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith(PREFIX)]

    def reroute(name: str) -> None:
        cpu = torch.library.get_kernel(f"{PREFIX}{name}", "CPU")

        def kernel(keys: torch.DispatchKeySet, *arguments: object) -> object:
            try:
                return run(name, arguments)
            except (ValueError, AttributeError) as error:
                if not any(text in str(error) for text in ("no CUDA kernel", "has no attribute")):
                    raise
                return cpu.call_boxed(keys, *arguments)

        library.impl(name, kernel, "CPU", with_keyset=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that kernels are replaced
        for name in names:
            reroute(name.removeprefix(PREFIX))
    try:
        yield
    finally:
        library._destroy()


def to_gpu(argument: object) -> object:
    if isinstance(argument, list | tuple):
        return [to_gpu(each) for each in argument]
    return argument.cuda() if isinstance(argument, Tensor) and argument.is_cpu else argument


def run_on_gpu(name: str, arguments: tuple) -> object:
    """Copies tensors to the GPU and back; batch sizes, alone, belong on the CPU."""
    operation = getattr(native, name).default
    schema = operation._schema.arguments
    there = [
        a if given.name == "batch_sizes" else to_gpu(a)
        for given, a in zip(schema, arguments, strict=True)
    ]
    found = operation(*there)
    for given, before, after in zip(schema, arguments, there, strict=True):
        if given.is_write:
            before.copy_(after)
    if isinstance(found, Tensor):
        return found.cpu()
    return None if found is None else tuple(each.cpu() for each in found)


@pytest.fixture(autouse=True, scope="module")
def device(request):
    """Device of the operations: every test of the CPU's is one of the GPU's, too."""
    if getattr(request, "param", "cpu") == "cpu":
        yield
    else:
        with running_by(run_on_gpu):
            yield


@pytest.fixture(scope="session")
def operations_by():
    """:func:`running_by`, for other folders."""
    return running_by


@pytest.fixture(scope="session")
def on_gpu():
    """:func:`run_on_gpu`."""
    return run_on_gpu


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


@pytest.fixture
def way():
    """Sets the way that all regions take, and puts it back to that of all tests."""
    yield library.set_way
    library.set_way("rows")


@pytest.fixture
def counted() -> Callable[[Callable[[], object]], dict[str, int]]:
    """How much each of the native counters grows while a function runs."""

    def run(function: Callable[[], object]) -> dict[str, int]:
        before = library.counters()
        function()
        return {name: each - before[name] for name, each in library.counters().items()}

    return run


@pytest.fixture
def assert_same_bits(
    threads, counted
) -> Callable[[Callable[[], Mapping | Iterable[Tensor]]], None]:
    """Checks that the tensors which a function returns, by name or in order, have the same bits by
    one thread and by three, of which at least two run in each of its regions."""

    def check(function) -> None:
        computed = []

        def run() -> None:
            found = function()
            computed.append(dict(found if isinstance(found, Mapping) else enumerate(found)))

        threads(1)
        assert counted(run)["teams"] == 0
        threads(3)
        ran = counted(run)
        assert ran["members"] >= 2 * ran["teams"] > 0, ran
        alone, many = computed
        assert many.keys() == alone.keys()
        for name, tensor in alone.items():
            assert torch.equal(tensor, many[name]), name

    return check


@pytest.fixture(scope="session")
def weight_of():
    """Makes a weight of given values at random cells."""

    def make(values: Tensor, rows: int, cols: int, seed: int = 0) -> SparseWeight:
        return SparseWeight(values, random_pattern(rows, cols, values.numel(), seed=seed))

    return make
