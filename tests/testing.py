"""Tools for tests of sparse code: awkward patterns and layouts, and tolerances from the dtype."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torch.testing import assert_close

from sparse_engine import nn as sparse
from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, Pattern, RandomKey
from sparse_engine.ops._dispatch.private import OpOverload, TorchDispatchMode, compiled_package
from sparse_engine.ops.topology import rewire, sample_absent

# Widths of kernels, and their neighbours.
BOUNDARIES = [width + step for width in (4, 8, 16, 32, 64, 128) for step in (-1, 0, 1)]

LAYOUTS = ("rows", "columns", "sliced rows", "sliced columns", "strided")

#: Every registered cell by name, and again with layer normalisation where the cell has it. Call an
#: entry with the number of inputs, a number of units that 7 divides, and options.
CELLS: dict[str, Callable[..., nn.Module]] = {
    **sparse.CELLS,
    **{
        f"normed {name}": partial(entry, layer_norm=True)
        for name, entry in sparse.CELLS.items()
        if "layer_norm" in entry.options
    },
}


def output_of(module: Callable[..., Any], *inputs: object) -> Tensor:
    """Return the output of a module, without the states of a recurrent network."""
    y = module(*inputs)
    return y if isinstance(y, Tensor) else y[0]


def packaged_output(module: nn.Module, x: Tensor, folder: Path) -> Tensor:
    """Return the output of a module that AOTInductor has compiled, packaged and loaded."""
    with torch.no_grad():
        program = torch.export.export(module.eval(), (x,))
        return output_of(compiled_package(program, f"{folder}/x.pt2"), x)


def versions_of(source: Path) -> dict[str, list[str]]:
    """Return the versions of a file below ``csrc`` that are compiled, by name: the flags of each.

    Files called gated.* and continuous.* are compiled once for each such cell, as setup.py does.
    """
    if source.stem not in ("gated", "continuous"):
        return {source.stem: []}
    (csrc,) = (folder for folder in source.parents if folder.name == "csrc")
    header = (csrc / f"include/sparse_engine/{source.stem}.h").read_text()
    return {
        name: [f"-DSPARSE_ENGINE_CELL={name}", f"-DSPARSE_ENGINE_CELL_CLASS={kind}"]
        for name, kind in re.findall(r"each\((\w+), (\w+)\)", header)
    }


def random_pattern(out_features: int, in_features: int, nnz: int, *, seed: int = 0) -> Pattern:
    """Return a pattern of ``nnz`` links at random positions."""
    empty = Links(
        torch.zeros(out_features + 1, dtype=torch.int64),
        torch.empty(0, dtype=torch.int32),
        in_features,
    )
    cells = sample_absent(empty, nnz, RandomKey(seed))
    return Pattern.of(rewire(empty, torch.empty(0, dtype=torch.bool), cells).links)


def pattern_of(mask: Tensor) -> Pattern:
    """Return the pattern of the true entries of a boolean matrix."""
    rows, cols = mask.nonzero(as_tuple=True)
    crow = torch.zeros(mask.shape[0] + 1, dtype=torch.int64)
    crow[1:] = torch.bincount(rows, minlength=mask.shape[0]).cumsum(0)
    return Pattern.from_csr(crow, cols, (mask.shape[0], mask.shape[1]))


def uneven_pattern(out_features: int, in_features: int) -> Pattern:
    """Return a pattern of a full row, a full column, and a run of empty rows between."""
    mask = torch.zeros(out_features, in_features, dtype=torch.bool)
    mask[3] = True
    mask[:, 7] = True
    mask[20:30] = False
    return pattern_of(mask)


def awkward_patterns() -> dict[str, Pattern]:
    """Return patterns at which kernels tend to break, by name."""
    return {
        "nothing": random_pattern(5, 9, 0),
        "one cell": random_pattern(1, 1, 1),
        "one row": random_pattern(1, 40, 33),
        "one column": random_pattern(40, 1, 17),
        "all": random_pattern(19, 17, 19 * 17),
        "uneven": uneven_pattern(37, 53),
        "sparse": random_pattern(100, 70, 31, seed=1),
        "ordinary": random_pattern(70, 100, 800, seed=2),
    }


def square_patterns() -> dict[str, Pattern]:
    """Return square patterns at which kernels tend to break, by name."""
    return {
        "lonely": random_pattern(1, 1, 0),
        "one cell": random_pattern(1, 1, 1),
        "nothing": random_pattern(7, 7, 0),
        "all": random_pattern(16, 16, 256),
        "98 %": random_pattern(20, 20, 392),
        "uneven": uneven_pattern(40, 40),
        "ordinary": random_pattern(33, 33, 200),
        "medium": random_pattern(70, 70, 300),
        "long rows": random_pattern(50, 50, 1500),
        "wide": random_pattern(300, 300, 900),
    }


def stacked(pattern: Pattern, blocks: int, *, turn: int = 0) -> Pattern:
    """Return copies of a pattern one below another, like the gates of a cell.

    The columns of the first copy are rotated by ``turn``, and those of every other by one more than
    those of the copy above it.
    """
    height, width = pattern.shape
    rows, cols = pattern.rows(), pattern.col.long()
    copies = [
        (rows + block * height) * width + (cols + turn + block) % width for block in range(blocks)
    ]
    positions = torch.cat(copies).sort().values
    crow = torch.bincount(positions // width, minlength=blocks * height).cumsum(0)
    crow = nn.functional.pad(crow, (1, 0))
    return Pattern.from_csr(crow, positions % width, (blocks * height, width))


def hub_pattern(out_features: int, in_features: int) -> Pattern:
    """Return a pattern with two full rows, a full column, and few or no links in other rows."""
    generator = torch.Generator().manual_seed(out_features)
    mask = torch.rand(out_features, in_features, generator=generator) < 4 / in_features
    mask[out_features // 2 : out_features // 2 + 3] = False
    mask[:, in_features // 3] = True
    mask[[1, out_features - 1]] = True
    return pattern_of(mask)


def sizes() -> st.SearchStrategy[int]:
    """Draw sizes of a matrix: small ones, and those around the widths of kernels."""
    return st.one_of(st.integers(1, 20), st.sampled_from(BOUNDARIES))


def real_dtypes() -> st.SearchStrategy[torch.dtype]:
    """Draw dtypes that kernels are compiled for."""
    return st.sampled_from([torch.float32, torch.float64])


@st.composite
def patterns(draw: st.DrawFn, *, square: bool = False) -> Pattern:
    """Draw patterns from empty to full, some with full rows or columns or empty rows."""
    rows = draw(sizes())
    cols = rows if square else draw(sizes())
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from([0.0, 0.02, 0.3, 0.98, 1.0]))
    mask = torch.rand(rows, cols, generator=generator) < share
    if draw(st.booleans()):
        mask[draw(st.integers(0, rows - 1))] = True
    if draw(st.booleans()):
        mask[:, draw(st.integers(0, cols - 1))] = True
    if draw(st.booleans()):
        mask[rows // 3 : rows // 2 + 1] = False
    return pattern_of(mask)


def laid_out(matrix: Tensor, layout: str) -> Tensor:
    """Return the same numbers in one of LAYOUTS, in memory that is NaN elsewhere."""
    rows, cols = matrix.shape

    def nan(*shape: int) -> Tensor:
        return matrix.new_full(shape, math.nan)

    places = {
        "rows": lambda: nan(rows, cols),
        "columns": lambda: nan(cols, rows).t(),
        "sliced rows": lambda: nan(rows, cols + 5)[:, 2:-3],
        "sliced columns": lambda: nan(cols, rows + 5)[:, 2:-3].t(),
        "strided": lambda: nan(2 * rows, 3 * cols)[::2, ::3],
    }
    return places[layout]().copy_(matrix)


def integers(*shape: int, dtype: torch.dtype, most: int = 3) -> Tensor:
    """Return random integers in [-most, most], whose products have exact sums in any order."""
    return torch.randint(-most, most + 1, shape).to(dtype)


def leaves_of(
    network: sparse.Recurrent, steps: int, batch: int | None, *, initial: bool = True
) -> list[Tensor]:
    """Return random arguments of a recurrent network: its input and, with ``initial``, states.

    A ``batch`` of None stands for one sequence without a batch dimension.
    """
    dtype = next(network.parameters()).dtype
    of_batch = () if batch is None else (batch,)
    shape = (*of_batch, steps) if network.batch_first else (steps, *of_batch)
    layers = network.num_layers * (2 if network.bidirectional else 1)
    states = [
        torch.randn(layers, *of_batch, network.size_of(name), dtype=dtype)
        for name in network.states
        if initial
    ]
    return [torch.randn(*shape, network.input_size, dtype=dtype), *states]


def refusals(
    *cases: tuple[str, Callable[[], object]],
    error: type[Exception] | tuple[type[Exception], ...] = ValueError,
) -> Callable:
    """Make a test that each call raises an error whose message the pattern before it finds."""

    @pytest.mark.parametrize(("message", "call"), cases)
    def test(message: str, call: Callable[[], object]) -> None:
        with pytest.raises(error, match=message):
            call()

    return test


class Recorder(TorchDispatchMode):
    """Records the native operations that run while it is entered.

    Attributes:
        calls: each operation, copies of its arguments before the call, and its results.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[OpOverload, list, tuple[Tensor, ...]]] = []

    def __torch_dispatch__(
        self,
        operation: OpOverload,
        types: object,
        args: tuple = (),
        kwargs: dict | None = None,
    ) -> object:
        if operation.namespace != "sparse_engine":
            return operation(*args, **(kwargs or {}))
        arguments = [copied(each) for each in args]
        results = operation(*args, **(kwargs or {}))
        self.calls.append((operation, arguments, () if results is None else as_tuple(results)))
        return results


def copied(argument: object) -> object:
    """Return an argument of an operation with copies of its tensors, which need no gradient."""
    if isinstance(argument, list | tuple):
        return [copied(each) for each in argument]
    return argument.detach().clone() if isinstance(argument, Tensor) else argument


def batch_sizes_of(lengths: Sequence[int]) -> Tensor:
    """Return the number of sequences at each step, given their lengths from long to short."""
    return pack_sequence([torch.empty(length) for length in lengths]).batch_sizes


def is_real(value: object) -> bool:
    """Whether a value is a tensor that can have a gradient."""
    return isinstance(value, Tensor) and value.is_floating_point()


def as_tuple(results: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the results of an operation as a tuple."""
    return (results,) if isinstance(results, Tensor) else tuple(results)


def tolerance(dtype: torch.dtype, terms: int) -> dict[str, Any]:
    """Return bounds for ``assert_close`` of sums of ``terms`` products of numbers near one.

    Rounding errors are taken as independent: they grow as the square root of the length.
    """
    bound = 4 * torch.finfo(dtype).eps * max(1, terms) ** 0.5
    return {"rtol": bound, "atol": 4 * bound}


def assert_sums(actual: Tensor, exact: Tensor, terms: int) -> None:
    """Assert that sums of ``terms`` products equal those in double precision."""
    assert exact.dtype == torch.float64
    assert_close(actual.double(), exact, **tolerance(actual.dtype, terms))


def _size_of(result: Tensor) -> float:
    return max(1.0, float(result.detach().abs().max())) if result.numel() else 1.0


def assert_scaled_sums(actual: Tensor, exact: Tensor, terms: int) -> None:
    """Assert :func:`assert_sums` relative to the largest entry, if that is more than 1."""
    size = _size_of(exact)
    assert_sums(actual / size, exact / size, terms)


def assert_alike(found: Iterable[Tensor], wanted: Iterable[Tensor], terms: int) -> None:
    """Assert that sums of ``terms`` products are close, relative to the largest of each."""
    for one, other in zip(found, wanted, strict=True):
        size = _size_of(other)
        assert_close(one / size, other / size, **tolerance(one.dtype, terms))


def assert_valid(weight: SparseWeight) -> None:
    """Assert everything that always holds for a weight's pattern and its transpose."""
    checked = Pattern.from_csr(weight.crow_indices, weight.col_indices, weight.shape)
    for kept, fresh in zip(weight.pattern, checked, strict=True):
        assert torch.equal(kept, fresh)
    assert weight.values.shape == (weight.nnz,)
