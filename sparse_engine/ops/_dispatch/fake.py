"""Shapes of results where there is no data: on meta tensors, and for the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sparse_engine.ops._dispatch.native import defaults_of, refuse_onnx
from sparse_engine.ops._dispatch.private import tree_leaves
from sparse_engine.ops.pattern import TENSORS

#: What a PackedSequence has on the CPU, wherever its data are.
ON_CPU = "batch_sizes"


def fake(*operations: str) -> Callable[[Callable], Callable]:
    """Register a function as the fake kernel of native operations, behind checks.

    The checks are those without which nobody else would notice: torch runs a fake kernel where any
    tensor is on the meta device, and would take uninitialised memory for its result. The function
    takes the operation's arguments by name.
    """

    def register(shapes: Callable) -> Callable:
        for name in operations:
            torch.library.register_fake(f"sparse_engine::{name}", _checked(name, shapes))
        return shapes

    return register


def _checked(operation: str, shapes: Callable) -> Callable:
    schema = getattr(torch.ops.sparse_engine, operation).default._schema
    names = [argument.name for argument in schema.arguments]
    defaults = defaults_of(schema)

    def run(*arguments: object) -> object:
        refuse_onnx()
        arguments += defaults[len(arguments) :]
        given = dict(zip(names, arguments, strict=True))
        tensors = [
            (name, each)
            for name, argument in given.items()
            for each in tree_leaves(argument)
            if isinstance(each, Tensor) and name != ON_CPU
        ]
        _check_devices(operation, tensors)
        _check_dtypes(operation, tensors)
        _check_links(given)
        return shapes(**given)

    return run


def _check_devices(operation: str, tensors: list[tuple[str, Tensor]]) -> None:
    (first, device), *others = ((name, each.device) for name, each in tensors)
    for name, other in others:
        if other != device:
            raise ValueError(
                f"expected all tensors of sparse_engine.{operation} on one device, found {first} "
                f"on {device} and {name} on {other}"
            )


def _check_dtypes(operation: str, tensors: list[tuple[str, Tensor]]) -> None:
    floating = {name: each.dtype for name, each in tensors if each.is_floating_point()}
    if len({*floating.values()} - {torch.bfloat16}) > 1 or (
        torch.bfloat16 in floating.values() and torch.float64 in floating.values()
    ):
        found = ", ".join(f"{name} of {dtype}" for name, dtype in floating.items())
        raise ValueError(f"expected one dtype in sparse_engine.{operation}, found {found}")


def _check_links(given: dict[str, Any]) -> None:
    """Compare the numbers of values and links, where neither is symbolic."""
    values, pattern = given.get("values"), given.get("pattern")
    if not isinstance(values, Tensor) or pattern is None:
        return
    own = pattern if given.get("p_values") is None else pattern[:TENSORS]
    links = sum(col.numel() for col in own[1::TENSORS])
    if all(isinstance(size, int) for size in (values.numel(), links)) and values.numel() != links:
        raise ValueError(f"expected values of shape [{links}], found {[*values.shape]}")
