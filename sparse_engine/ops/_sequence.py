"""Operations on sequences in plain torch: lengths, limits, and the references of native ones."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import torch
from torch import Tensor

#: States of a cell, as a tuple of tensors ``[batch, features]``.
States = tuple[Tensor, ...]
#: ``product(h)`` returns the recurrent sums of a state, ``h @ W.T``.
Product = Callable[..., Any]


def steps_of(x: Tensor, batch_sizes: Tensor | None) -> Sequence[Tensor]:
    """Return ``x[t]`` for every t, of ``[steps, batch, features]`` or packed ``[rows, features]``.

    Of a packed tensor, step t has the ``batch_sizes[t]`` sequences that still run, longest first.
    """
    return x.unbind() if batch_sizes is None else x.split(batch_sizes.tolist())


#: Devices whose kernels multiply by dense input weights.
MULTIPLYING = {"cpu", "meta"}


def multiplied(
    x: Tensor, w_input: Tensor | None, b_input: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the input and its dense weights, or their product alone where a kernel needs that.

    The product has the dtype of ``x``, whatever autocast says, as in the kernels that multiply.
    """
    if w_input is None or x.device.type in MULTIPLYING:
        return x, w_input, b_input
    b_input = None if b_input is None else b_input.to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return torch.nn.functional.linear(x, w_input.to(x.dtype), b_input), None, None


def joined(states: Sequence[Tensor], batch_sizes: Tensor | None) -> Tensor:
    """Return one tensor of all steps, the inverse of :func:`steps_of`."""
    return torch.stack(tuple(states)) if batch_sizes is None else torch.cat(tuple(states))


def check_one_of(names: Iterable[str], name: str, value: object) -> None:
    """Raise ValueError for an option whose value is none of some names."""
    if value not in [*names]:
        raise ValueError(f"expected {name} one of {[*names]}, found {value!r}")


def finite(clip: float | None) -> float | None:
    """Return a limit, or None if it is infinite: an exported program is JSON without infinities."""
    return None if clip == math.inf else clip


def run_steps(
    step: Callable[..., States],
    product: Product,
    v: Tensor,
    state: Iterable[Tensor],
    batch_sizes: Tensor | None = None,
    resets: Tensor | None = None,
    **of_steps: Tensor,
) -> States:
    """Run a recurrence in plain torch; return the outputs of all steps, and the final states.

    ``step(v[t], product, state, **{name: each[t] for name, each in of_steps})`` returns the states
    after step t, of which the first is the output. The initial states are ``[batch, ...]`` each;
    ``batch_sizes`` and ``resets`` are those of :mod:`sparse_engine.ops`.
    """
    state, outputs, ended = tuple(state), [], []
    for t, each in enumerate(steps_of(v, batch_sizes)):
        if batch_sizes is not None and len(each) < len(state[0]):
            ended.append([kept[len(each) :] for kept in state])
            state = tuple(kept[: len(each)] for kept in state)
        if resets is not None:
            state = tuple(kept.masked_fill(resets[t].unsqueeze(-1), 0) for kept in state)
        state = tuple(step(each, product, state, **{name: of[t] for name, of in of_steps.items()}))
        outputs.append(state[0])
    final = [torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True)]
    return joined(outputs, batch_sizes), *(final if ended else state)


P = ParamSpec("P")
R = TypeVar("R", covariant=True)

Step = Callable[..., States]
Given = dict[str, Any]


class Operation(Protocol[P, R]):
    """Function that calls native kernels; ``reference`` computes the same in plain torch."""

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

    The operation returns the same without the last. Its reference is :func:`run_steps` with the
    step, whose keyword-only arguments have the names of the operation's options, and with the
    ``v``, ``product`` and ``state`` that ``prepare`` returns, or by default :func:`_dense_loop`.
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
            loop = _dense_loop(given) if prepare is None else prepare(given)
            each = _of_steps(given)
            outputs, *final = run_steps(_options_of(step, given), **loop, **each)
            return (outputs, *final[1:]) if len(final) > 1 else outputs

        operation, described = cast(Any, run), cast(Any, reference)
        described.__signature__ = signature
        operation.full, operation.step, operation.reference = full, step, reference
        return operation

    return decorate


def _options_of(step: Step, given: Given) -> Step:
    """Return the step with the options among the arguments of its operation."""
    named = inspect.signature(step).parameters.values()
    wanted = [each.name for each in named if each.kind is each.KEYWORD_ONLY]
    options = {name: given[name] for name in wanted if name in given}

    def with_options(*arguments: Any, **more: Any) -> States:
        return step(*arguments, **options, **more)

    return with_options


def _of_steps(given: Given) -> Given:
    """Return where sequences end and begin, and take the lengths of unfolds out of the others."""
    found = {name: given.get(name) for name in ("batch_sizes", "resets")}
    return found | ({"dt": given.pop("dt").unsqueeze(-1)} if "dt" in given else {})


def _dense_loop(given: Given) -> Given:
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
    sizes_of_steps = given.get("batch_sizes")
    batch = x.shape[1] if sizes_of_steps is None else int(sizes_of_steps[0])
    state = [
        x.new_zeros(batch, size) if given[name] is None else given[name]
        for name, size in sizes.items()
        if name in given
    ]
    return {"product": product, "v": v, "state": state}
