"""Operations with a reference: the same in plain torch, as the attribute ``reference``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from torch import Tensor

from sparse_engine.ops._sequence import batch_of, run_steps

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

Step = Callable[..., tuple[Tensor, ...]]
Given = dict[str, Any]


class Operation(Protocol[P, R]):
    """Function that calls native kernels.

    Attributes:
        reference: computes the same in plain torch.
    """

    reference: Callable[P, Any]

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> R:
        """Call the kernels."""


class SequenceOperation(Operation[P, Any], Protocol[P]):
    """Recurrence over whole sequences.

    Attributes:
        full: returns all that the kernel does: beside the results what it saves for its backward
            pass, or the final state where it is not rounded.
        step: computes one time step in plain torch: the equations, of which the reference is made.
    """

    full: Callable[P, tuple[Any, ...]]
    step: Step


def with_reference(reference: Callable[P, object]) -> Callable[[Callable[P, R]], Operation[P, R]]:
    """Give an operation its reference."""

    def decorate(function: Callable[P, R]) -> Operation[P, R]:
        operation = cast(Any, function)
        operation.reference = reference
        return operation

    return decorate


def sequence_of(
    step: Step, prepare: Callable[[Given], Given] | None = None
) -> Callable[[Callable[P, tuple[Any, ...]]], SequenceOperation[P]]:
    """Make a sequence operation of a function that returns all that its kernel does.

    The operation returns the same without the last, and its reference is a loop over the step.

    Args:
        step: computes one time step, see :func:`sparse_engine.ops._sequence.run_steps`. Its
            keyword-only arguments have the names of the operation's options.
        prepare: ``prepare(arguments)`` returns those of ``run_steps`` that are not made of a
            pattern, values, biases and an input weight: ``v``, ``product`` and ``state``.
    """

    def decorate(full: Callable[P, tuple[Any, ...]]) -> SequenceOperation[P]:
        signature = inspect.signature(full)

        @wraps(full)
        def run(*arguments: P.args, **options: P.kwargs) -> Any:
            results = full(*arguments, **options)
            return results[0] if len(results) == 2 else results[:-1]

        def reference(*arguments: P.args, **options: P.kwargs) -> Any:
            bound = signature.bind(*arguments, **options)
            bound.apply_defaults()
            given = bound.arguments
            loop = dense_loop(given) if prepare is None else prepare(given)
            each = of_steps(given)
            outputs, *final = run_steps(options_of(step, given), **loop, **each)
            return (outputs, *final[1:]) if len(final) > 1 else outputs

        operation, described = cast(Any, run), cast(Any, reference)
        described.__signature__ = signature
        operation.full, operation.step, operation.reference = full, step, reference
        return operation

    return decorate


def options_of(step: Step, given: Given) -> Step:
    """Return the step with the options among the arguments of its operation."""
    named = inspect.signature(step).parameters.values()
    wanted = [each.name for each in named if each.kind is each.KEYWORD_ONLY]
    options = {name: given[name] for name in wanted if name in given}

    def with_options(*arguments: Any, **more: Any) -> tuple[Tensor, ...]:
        return step(*arguments, **options, **more)

    return with_options


def of_steps(given: Given) -> Given:
    """Return where sequences end and begin, and take the lengths of unfolds out of the others."""
    found = {name: given.get(name) for name in ("batch_sizes", "resets")}
    return found | ({"dt": given.pop("dt").unsqueeze(-1)} if "dt" in given else {})


def dense_loop(given: Given) -> Given:
    """Return the input's contribution, the product and the initial states, by dense weights."""
    weight, x = given["pattern"].dense(given["values"]), given["x"]
    norm, bias, project = given.get("norm"), given.get("bias"), given.get("projection")

    def product(h: Tensor) -> Tensor:
        u = h @ weight.T
        u = u if norm is None else norm(u)
        return u if bias is None else u + bias

    v = x if given.get("w_input") is None else x @ given["w_input"].T
    v = v if given.get("b_input") is None else v + given["b_input"]
    sizes = {"h0": weight.shape[1], "c0": weight.shape[1]}
    if project is not None:
        dense = project[1].dense(project[0])
        sizes["c0"], given["project"] = dense.shape[1], lambda h: h @ dense.T
    batch = batch_of(x, given.get("batch_sizes"))
    state = [
        x.new_zeros(batch, size) if given[name] is None else given[name]
        for name, size in sizes.items()
        if name in given
    ]
    return {"product": product, "v": v, "state": state}
