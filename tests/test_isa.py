"""Every instruction set computes the same; the environment variable chooses."""

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import torch
from sparse_engine.nn import SparseRNN
from sparse_engine.ops._native import isa
generator = torch.Generator().manual_seed(0)
network = SparseRNN(5, 90, density=0.2, generator=generator)
for batch in (1, 3, 7, 20, 70):
    network.zero_grad()
    y, _ = network(torch.randn(6, batch, 5, generator=generator))
    y.square().sum().backward()
    print(isa(), y.double().sum().item(), network.weight_hh_l0.values.grad.double().norm().item())
"""


def run(isa):
    environment = os.environ | {"SPARSE_ENGINE_ISA": isa}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True
    )


@pytest.mark.skipif(platform.machine() != "x86_64", reason="one instruction set elsewhere")
def test_instruction_sets_agree():
    best = run("")
    assert best.returncode == 0, best.stderr
    chosen = best.stdout.split()[0]
    names = ["baseline", "x86-64-v3", "x86-64-v4"]
    for name in names[: names.index(chosen) + 1]:
        other = run(name)
        assert other.returncode == 0, other.stderr
        for line, wanted in zip(other.stdout.splitlines(), best.stdout.splitlines(), strict=True):
            found, *numbers = line.split()
            assert found == name
            for number, expected in zip(numbers, wanted.split()[1:], strict=True):
                assert float(number) == pytest.approx(float(expected), rel=1e-4, abs=1e-3)


def test_an_unknown_name_is_refused():
    wrong = run("mmx")
    assert wrong.returncode != 0
    assert "SPARSE_ENGINE_ISA to be one of baseline" in wrong.stderr
    assert 'found "mmx"' in wrong.stderr
