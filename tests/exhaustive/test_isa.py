"""Every instruction set computes the same; an environment variable chooses."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from testing import tolerance
from torch.testing import assert_close

from sparse_engine.ops._dispatch.native import built_isas

SCRIPT = """
import sys
import torch
from safetensors.torch import save_file
from sparse_engine import ops
from sparse_engine.ops._dispatch.native import isa
from testing import CELLS, random_pattern

found = {}
for dtype in (torch.float32, torch.float64):
    generator = torch.Generator().manual_seed(0)
    pattern = random_pattern(90, 70, 1200)
    networks = {
        name: kind(5, 98, density=0.2, dtype=dtype, generator=generator)
        for name, kind in CELLS.items()
        if name not in ("ltc", "neural_ode")
    }
    for columns in (1, 3, 7, 20, 70):
        values, x, y = (
            torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)
            for shape in ((1200,), (columns, 70), (90, columns))
        )
        case = f"{dtype} {columns}"
        found[f"spmm {case}"] = ops.spmm(values, pattern, x.t()).contiguous()
        found[f"spmm_t {case}"] = ops.spmm_t(values, pattern, y)
        found[f"sddmm {case}"] = ops.sddmm(pattern, y, x.t())
        if dtype == torch.float32:
            found[f"sddmm bfloat16 {columns}"] = ops.sddmm(pattern, y.bfloat16(), x.t().bfloat16())
        lengths = 1 + torch.arange(columns) % 6
        x = torch.randn(6, columns, 5, dtype=dtype, generator=generator)
        for name, network in networks.items():
            network.zero_grad()
            outputs = {"h": network(x)[0]}
            if network.cell.packable:
                outputs["packed"] = network(x, lengths=lengths)[0]
            sum(each.square() for each in outputs.values()).mean().backward()
            found |= {f"{name} {case} {of}": each.detach() for of, each in outputs.items()}
            for of, parameter in network.named_parameters():
                found[f"{name} {case} {of}"] = parameter.grad.clone()
            if dtype == torch.float32 and "normed" not in name:
                with torch.autocast("cpu", torch.bfloat16):
                    h = network(x)[0]
                network.zero_grad()
                h.float().square().mean().backward()
                found[f"autocast {name} {columns} h"] = h.detach().float()
                for of, parameter in network.named_parameters():
                    if of.startswith("weight_hh"):
                        found[f"autocast {name} {columns} {of}"] = parameter.grad.clone()
save_file(found, sys.argv[1])
print(isa())
"""


def run(isa, file):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file)],
        env=os.environ | {"SPARSE_ENGINE_ISA": isa, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    """The set that is chosen for this processor, and its results."""
    file = tmp_path_factory.mktemp("isa") / "best"
    done = run("", file)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), load_file(file)


ROOT = Path(__file__).resolve().parents[2]
NAMES = built_isas().split(", ")


LESSER = """
#define __builtin_cpu_supports(feature) 0
#define SPARSE_ENGINE_WITH_V3
#include "runtime/isa.cpp"
#include <iostream>

namespace sparse_engine {
template <> Kernels<float> kernels_of<V3, float, float>() { return {}; }
template <> Kernels<double> kernels_of<V3, double, double>() { return {}; }
template <> Kernels<float, BFloat16> kernels_of<V3, float, BFloat16>() { return {}; }
}

int main() {
  try {
    std::cout << sparse_engine::isa_name();
  } catch (const std::runtime_error& error) {
    std::cout << error.what();
  }
}
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="one instruction set elsewhere")
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_lesser_processor_is_told_what_the_library_was_built_for(tmp_path):
    source, program = tmp_path / "lesser.cpp", tmp_path / "lesser"
    source.write_text(LESSER)
    includes = [f"-I{ROOT / 'csrc' / folder}" for folder in ("include", "cpu")]
    subprocess.run(["g++", "-std=c++17", *includes, source, "-o", program], check=True)
    said = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    assert said.startswith("expected a processor with x86-64-v3, which this library was built for")
    assert "SPARSE_ENGINE_ISA_BUILD=all" in said


@pytest.mark.parametrize("name", NAMES)
def test_every_instruction_set_computes_the_same(name, best, tmp_path):
    chosen, expected = best
    if NAMES.index(name) > NAMES.index(chosen):
        pytest.skip(f"this processor has no {name}")
    done = run(name, tmp_path / "found")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == name
    found = load_file(tmp_path / "found")
    assert found.keys() == expected.keys()
    for case, tensor in found.items():
        if case.startswith("autocast"):
            # A sum that is off by a bit is rounded to a neighbour once in a while.
            assert (tensor - expected[case]).norm() < 2**-8 * expected[case].norm(), case
            continue
        # The longest sums: 18 links of each unit over 6 steps; gradients of a mean are below 1.
        assert_close(tensor, expected[case], **tolerance(tensor.dtype, 108), msg=case)


@pytest.mark.parametrize("name", ["mmx", "BASELINE", "x86-64-v3 "])
def test_an_unknown_name_is_an_import_error(name, tmp_path):
    done = run(name, tmp_path / "found")
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith(f"ImportError: expected SPARSE_ENGINE_ISA to be one of {NAMES[0]}")
    assert message.endswith(f'which were built and run on this processor, found "{name}"')
