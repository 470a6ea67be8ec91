"""Networks of the C library compute what Python computes."""

import os
import re
import shutil
import subprocess

import pytest
import torch
from c_library.calls import Network
from c_library.conftest import LIBRARY, ROOT
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close

from sparse_engine import c_library
from sparse_engine.__main__ import main
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN

NETWORKS = {
    "tanh": (SparseRNN, {}),
    "relu": (SparseRNN, {"nonlinearity": "relu"}),
    "lstm": (SparseLSTM, {}),
    "gru": (SparseGRU, {}),
}
OPTIONS = [
    {},
    {"num_layers": 2},
    {"bias": False},
    {"num_layers": 3, "input_density": 0.5},
    {"input_density": 0.5},
]


def saved(module, folder):
    path = folder / "model.safetensors"
    save_file({name: each.contiguous() for name, each in module.state_dict().items()}, path)
    return path


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", NETWORKS)
@torch.no_grad()
def test_sequences_and_steps(library, kind, options, tmp_path):
    network, own = NETWORKS[kind]
    model = nn.ModuleDict({"a": network(9, 33, density=0.3, **own, **options)})
    model["b"] = SparseLinear(33, 4, density=0.5)
    found = Network(library, saved(model, tmp_path), "a", kind, 9)
    rnn, layers = model["a"], options.get("num_layers", 1)
    assert library.se_recurrent_hidden_size(found.pointer) == 33
    assert library.se_recurrent_input_size(found.pointer) == 9
    assert library.se_recurrent_layers(found.pointer) == layers
    for batch in (1, 3, 20):
        x, h = torch.randn(6, batch, 9), torch.randn(layers, batch, 33) / 3
        c = torch.randn(layers, batch, 33) / 3 if kind == "lstm" else None
        expected, final = rnn(x, h if c is None else (h, c))
        own_h, own_c = h.clone(), None if c is None else c.clone()
        y = found(x, own_h, own_c)
        # A batch of one is multiplied by a dense input weight before the loop in Python.
        tolerance = {"rtol": 1e-4, "atol": 1e-5} if batch == 1 else {"rtol": 0, "atol": 0}
        assert_close(y, expected, **tolerance)
        assert_close(own_h, final[0] if kind == "lstm" else final, **tolerance)
        if c is not None:
            assert_close(own_c, final[1], **tolerance)
        assert_close(found(x), rnn(x)[0], **tolerance)
        steps = [found.step(each.contiguous(), h, c) for each in x]
        assert_close(torch.stack(steps), expected, rtol=1e-4, atol=1e-5)
        assert_close(h, own_h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_linear_layers(library, bias, tmp_path):
    model = nn.ModuleDict(
        {"dense": nn.Linear(30, 7, bias), "sparse": SparseLinear(30, 7, bias, density=0.4)}
    )
    path = saved(model, tmp_path)
    for name, inputs in (("dense", 0), ("sparse", 30)):
        layer = Network(library, path, name, "linear", inputs)
        for rows in (1, 5, 40):
            x = torch.randn(rows, 30)
            expected = model[name](x)
            if name == "sparse":
                assert torch.equal(layer.linear(x, 7), expected)
            else:
                assert_close(layer.linear(x, 7), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_example_program(tmp_path, capsys):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    assert main(["--c-flags"]) == 0
    flags, program = capsys.readouterr().out.split(), tmp_path / "run_network"
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    command = [compiler, *warnings, "examples/c/run_network.c", *flags, "-o", str(program)]
    subprocess.run(command, cwd=ROOT, check=True)
    model = nn.ModuleDict({"rnn": SparseLSTM(6, 40, density=0.2)})
    x, path = torch.randn(5, 2, 6), saved(model, tmp_path)
    run = subprocess.run(
        [program, path, "rnn", "lstm", "0", "5", "2", "3"],
        input=x.numpy().tobytes(),
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    y = torch.frombuffer(bytearray(run.stdout), dtype=torch.float32).view(5, 2, 40)
    assert torch.equal(y, model["rnn"](x)[0]) and b"us per step" in run.stderr
    refused = subprocess.run(
        [program, path, "other", "lstm", "0", "5", "2"], input=b"", capture_output=True
    )
    assert refused.returncode == 1 and b"error 4: expected a tensor called other" in refused.stderr


def test_a_package_that_is_not_built_has_no_flags(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(c_library, "__file__", str(tmp_path / "__init__.py"))
    assert main(["--c-flags"]) == 2
    assert f"expected libsparse_engine.so in {tmp_path}" in capsys.readouterr().err


def test_it_needs_no_torch_and_no_python():
    needed = subprocess.run(
        ["readelf", "-d", LIBRARY], capture_output=True, check=True, text=True
    ).stdout
    assert "NEEDED" in needed and "torch" not in needed and "python" not in needed
    names = subprocess.run(
        ["nm", "-D", "--defined-only", LIBRARY], capture_output=True, check=True, text=True
    ).stdout
    header = (LIBRARY.parent / "sparse_engine.h").read_text()
    exported = {line.split()[-1] for line in names.splitlines() if " T " in line}
    assert exported - {"_init", "_fini"} == {*re.findall(r"\b(se_\w+)\(", header)}
