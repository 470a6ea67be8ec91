"""Operations on whole sequences: fake kernels and derivatives that follow from their schemas.

Such an operation is a pair of native ones, for example ``gru_forward`` and ``gru_backward``. The
names in their schemas say what belongs together. An argument of the backward operation is

- ``dh``, the gradient of the forward operation's result ``h``;
- ``wants_x``, whether autograd needs the gradient of ``x``;
- or the argument or result of the forward operation that has the same name.

Its result ``dbias`` is the gradient of the argument ``bias``. Where the operation multiplies ``x``
by dense weights ``w_input`` itself, it is given ``x`` only if their gradient is wanted, and ``dv``
is the gradient of the product.

A result that is not wanted, or that a cell does not have, is of shape ``[0]``, and so is the
gradient of an argument that was None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import differentiable, native, refuse_second_derivative
from sparse_engine.ops._dispatch.private import Argument, OpOverload
from sparse_engine.ops.pattern import TENSORS

#: Types of arguments, as schemas have them.
TENSOR, OPTIONAL_TENSOR = "Tensor", "Optional[Tensor]"

#: The dense weights that an operation multiplies x by, and what it adds to the product.
WEIGHTS_OF_X = ("w_input", "b_input")

#: Arguments that are vectors of an entry for each row of the weight, and for each unit.
VECTORS_OF_ROWS = ("bias", "b_input", "gain")
VECTORS_OF_UNITS = ("c_gain", "c_bias")


class Shapes:
    """Empty results of an operation, of the shapes that follow from its arguments.

    Attributes:
        given: the arguments by name; ``first`` is an activation ``[steps, batch, ...]``.
        rows, outputs: numbers of rows and columns of the recurrent weight.
        hidden: how many units there are; ``outputs`` where these are not projected.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.first: Tensor = next(iter(given.values()))
        crow, _, t_crow, *_ = pattern = given["pattern"]
        self.rows, self.outputs = crow.numel() - 1, t_crow.numel() - 1
        projected = given.get("p_values") is not None
        self.hidden = pattern[TENSORS + 2].numel() - 1 if projected else self.outputs

    def every_step(self, features: int) -> Tensor:
        return self.first.new_empty(*self.first.shape[:-1], features)

    def kept(self, features: int) -> Tensor:
        return self.every_step(features) if self.given["keep"] else self.nothing()

    def last_step(self, features: int) -> Tensor:
        packed = self.given.get("batch_sizes") is not None
        batch = torch.library.get_ctx().new_dynamic_size() if packed else self.first.shape[1]
        return self.values(batch, features)

    def values(self, *shape: int | torch.SymInt) -> Tensor:
        return self.given["values"].new_empty(shape)

    def nothing(self) -> Tensor:
        return self.values(0)

    def gradient(self, name: str) -> Tensor:
        given = self.given
        if not given.get("wants_x" if name == "v" else f"wants_{name}", True):
            return self.nothing()
        if name in WEIGHTS_OF_X and given["x"] is None:
            return self.nothing()
        if name == "w_input":
            return self.values(self.rows, given["x"].shape[-1])
        if name in VECTORS_OF_ROWS:
            return self.values(self.rows)
        if name in VECTORS_OF_UNITS:
            return self.values(self.hidden)
        if name == "v" or (name == "x" and "x" not in given):
            return self.every_step(self.rows)
        own: Tensor | None = given[name]
        return self.nothing() if own is None else own.new_empty(own.shape)


def states_and_final(shapes: Shapes) -> tuple[Tensor, Tensor]:
    """Return the states of all steps, and of the last one where the others are rounded."""
    rounds = shapes.first.dtype != shapes.given["values"].dtype
    final = shapes.last_step(shapes.rows) if rounds else shapes.nothing()
    return shapes.every_step(shapes.rows), final


class Derivative:
    """Derivative of an operation; the source of each argument is found once, when it is made."""

    def __init__(
        self,
        forward: OpOverload,
        backward: OpOverload,
        constants: Mapping[str, Callable[..., object]],
    ) -> None:
        self.gradients = [each.name.removeprefix("d") for each in backward._schema.returns]
        self._run = refuse_second_derivative(backward)
        self._constants = [*constants.values()]
        inputs, results = _kinds(forward._schema.arguments), _kinds(forward._schema.returns)
        taken, known = _kinds(backward._schema.arguments), inputs | results

        saved = [name for name in known if name in taken or name == "w_input"]
        tensors = [name for name in saved if known[name] in (TENSOR, OPTIONAL_TENSOR)]
        others = [name for name in saved if name not in (*tensors, "pattern")]
        self._tensors, self._others = (picker([*known], names) for names in (tensors, others))
        self._pattern, self._plain = [*inputs].index("pattern"), len(tensors)
        pool = [*(f"d{name}" for name in results), *tensors, "pattern", *others, *constants]
        pool += [f"wants_{name}" for name in inputs]
        self._arguments = picker(pool, [*taken])

        self._fused = "w_input" in inputs
        if self._fused:
            self._x, self._w_input = pool.index("x"), pool.index("w_input")
            self._needs_x = [at for at, name in enumerate(inputs) if name in WEIGHTS_OF_X]
        own = ["x" if name == "v" else name for name in self.gradients]
        self._sources = picker([*own, None], [name if name in own else None for name in inputs])

        differentiable = [name for name in results if f"d{name}" in taken]
        # Other results are for the backward pass only, and are marked as not differentiable, except
        # where nothing else tells the backward operation that a second derivative is wanted.
        kept = [at for at, name in enumerate(results) if name not in differentiable]
        self._marked = kept if any(name in taken for name in differentiable) else []
        self._may_be_absent = [
            at for at, name in enumerate(results) if taken.get(f"d{name}") == OPTIONAL_TENSOR
        ]
        # Otherwise some gradients are None, instead of zeros as large as what is kept.
        self._takes_all = all(taken.get(f"d{name}") == TENSOR for name in results)
        self._activation = next((tensors.index(name) for name in results if name in tensors), None)

    def save(self, ctx: Any, inputs: tuple, output: Tensor | tuple[Tensor, ...]) -> None:
        results = (output,) if isinstance(output, Tensor) else output
        known = (*inputs, *results)
        if self._fused and inputs[self._needs_x[0]] is None:
            known = (None, *known[1:])  # x
        ctx.save_for_backward(*self._tensors(known), *inputs[self._pattern])
        ctx.others = self._others(known)
        if self._constants:
            ctx.others += tuple(make(*inputs) for make in self._constants)
        if not self._takes_all:
            ctx.set_materialize_grads(False)
            ctx.shape = results[0].shape
            absent = [results[at] for at in self._may_be_absent if results[at].dim() == 1]
            ctx.mark_non_differentiable(*[results[at] for at in self._marked], *absent)

    def backward(self, ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, needs, plain = ctx.saved_tensors, ctx.needs_input_grad, self._plain
        if upstream[0] is None:
            upstream = (saved[self._activation].new_zeros(ctx.shape), *upstream[1:])
        pool = [*upstream, *saved[:plain], saved[plain:], *ctx.others, *needs]
        if self._fused and not any([needs[at] for at in self._needs_x]):
            pool[self._x] = None
        found = (*self._run(*self._arguments(pool)), None)
        if self._fused and needs[0]:
            dv, w_input = found[0], pool[self._w_input]
            found = (dv if w_input is None else dv @ w_input.to(dv.dtype), *found[1:])
        pairs = zip(self._sources(found), needs, strict=True)
        return tuple([each if need else None for each, need in pairs])


def picker(
    names: Sequence[str | None], wanted: Sequence[str | None]
) -> Callable[[Sequence], tuple]:
    places = [names.index(name) for name in wanted]
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple([values[at] for at in places])


def _kinds(arguments: Sequence[Argument]) -> dict[str, str]:
    return {each.name: str(each.type) for each in arguments}


def sequence_operation(
    name: str,
    results: Callable[[Shapes], Tensor | tuple[Tensor, ...]],
    *,
    gradients: Mapping[str, Callable[[Shapes], Tensor]] | None = None,
    constants: Mapping[str, Callable[..., object]] | None = None,
) -> Callable[..., Any]:
    """Make an operation, differentiable once, of ``<name>_forward`` and ``<name>_backward``.

    Args:
        name: the public name.
        results: returns the results of the forward operation, without data.
        gradients: the same for gradients that :meth:`Shapes.gradient` does not know, by argument.
        constants: further arguments of the backward operation by name, each a function of the
            arguments of the forward operation.
    """
    packets = [getattr(native, f"{name}_{way}") for way in ("forward", "backward")]
    for packet in packets:
        register_flop_formula(packet, get_raw=True)(_flops(packet.default))
    forward, backward = (packet.default for packet in packets)
    derivative, own = Derivative(forward, backward, constants or {}), gradients or {}

    @fake(f"{name}_backward")
    def _(**given):
        shapes = Shapes(given)
        return tuple(
            own[each](shapes) if each in own else shapes.gradient(each)
            for each in derivative.gradients
        )

    fake(f"{name}_forward")(lambda **given: results(Shapes(given)))
    return differentiable(forward, save=derivative.save, backward=derivative.backward)


def _flops(operation: OpOverload) -> Callable[..., int]:
    """Return a function that counts the FLOPs of an operation's products, as torch counts its own.

    There are two for each step, sequence and link, or entry of a dense weight inside the operation.
    Sums of conductances, whose terms are no products of links and states, do not count.
    """
    names = [each.name for each in operation._schema.arguments]
    gradients = {each.name for each in operation._schema.returns}
    backward = "dvalues" in gradients

    def count(*inputs: Any, out_val: Any, **_: Any) -> int:
        given = dict(zip(names, inputs, strict=False))
        if "mu" in given:
            return 0
        states = given[names[0]] if backward else out_val
        states = states if isinstance(states, Tensor) else states[0]
        links = dense = 0
        for name in ("values", "p_values"):
            if given.get(name) is not None:
                links += given[name].numel() * (1 + given.get(f"wants_{name}", False))
        if "unfolds" in given:  # the backward pass computes every stage once more
            links += backward * given["values"].numel()
            links *= given["unfolds"] * len(given["weights"])
        if given.get("w_input") is not None:
            dense = given["w_input"].numel()
        elif "dw_input" in gradients and given["x"] is not None:
            dense = given["x"].shape[-1] * (given["pattern"][0].numel() - 1)
        return 2 * math.prod(states.shape[:-1]) * (links + dense)

    return count
