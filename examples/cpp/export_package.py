"""Package a sparse network for serve.cpp, which runs it without Python.

    python examples/cpp/export_package.py lstm.pt2

The batch and the number of steps are free; those of the example inputs are only examples.
"""

import sys

import torch
from torch.export import Dim

from sparse_engine.nn import SparseLSTM


def package(network: torch.nn.Module, path: str, *, inputs: int = 64) -> None:
    """Write a package of a recurrent network that reads ``[steps, batch, inputs]``."""
    x = torch.randn(5, 3, inputs)
    shapes = {0: Dim("steps", min=1), 1: Dim("batch", min=1)}
    with torch.no_grad():
        program = torch.export.export(network.eval(), (x,), dynamic_shapes=(shapes,))
        torch._inductor.aoti_compile_and_package(program, package_path=path)


if __name__ == "__main__":
    package(SparseLSTM(64, 1024, density=0.1), sys.argv[1])
