"""Packages of cells, in Python and in the C++ program of the examples."""

import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from testing import CELLS, output_of, packaged_output
from torch.testing import assert_close

import sparse_engine
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),  # in torch
]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which("make") is None or not (ROOT / "build" / "objects").is_dir():
        pytest.skip("needs make and the objects of the extension")
    build = [sys.executable, "setup.py", "--quiet", "libraries"]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    path = tmp_path_factory.mktemp("serve") / "serve"
    subprocess.run(
        ["make", "-C", "examples/cpp", f"OUT={path}", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return path


def packaged(network, path):
    spec = spec_from_file_location("export_package", ROOT / "examples/cpp/export_package.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.package(network, str(path), inputs=6)
    return path


def served(program, path, x):
    run = subprocess.run(
        [program, path, *map(str, x.shape), "2"],
        input=x.numpy().tobytes(),
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert b" us" in run.stderr
    return torch.frombuffer(bytearray(run.stdout), dtype=torch.float32)


@pytest.mark.parametrize(
    ("kind", "quantized"), [(SparseRNN, False), (SparseLSTM, False), (SparseGRU, True)]
)
@torch.no_grad()
def test_packages(program, kind, quantized, tmp_path):
    network = kind(6, 40, 2, density=0.2)
    if quantized:
        network = sparse_engine.quantize(network).model
    path = packaged(network, tmp_path / "x.pt2")
    for steps, batch in ((1, 1), (7, 2), (5, 9)):
        x = torch.randn(steps, batch, 6)
        y = network(x)[0]
        assert_close(served(program, path, x).view(y.shape), y, rtol=1e-5, atol=1e-6)


def test_a_file_that_is_no_package(program, tmp_path):
    (tmp_path / "x.pt2").write_bytes(b"nothing")
    run = subprocess.run(
        [program, tmp_path / "x.pt2", "1", "1", "6"], input=b"", capture_output=True
    )
    assert run.returncode == 1 and run.stderr


# Those above are RNN, LSTM and GRU; of other operations whose arguments are alike, one is here.
ALIKE = {"rnn", "lstm", "gru", "mgu", "on_lstm", "rate_rnn", "neural_ode", "ltc", "normed rnn"}
MODULES = {name: kind for name, kind in CELLS.items() if name not in ALIKE} | {
    "linear": SparseLinear
}


@pytest.mark.parametrize("kind", MODULES)
def test_a_package_computes_the_same(kind, tmp_path):
    module, x = MODULES[kind](6, 21, density=0.3), torch.randn(7, 3, 6)
    assert_close(packaged_output(module, x, tmp_path), output_of(module, x))
