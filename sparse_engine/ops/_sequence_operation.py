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

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

import torch
from torch import Tensor

from sparse_engine.ops._fake import fake
from sparse_engine.ops._gradients import input_gradient
from sparse_engine.ops._native import differentiable, native, refuse_second_derivative

#: Types of arguments, as schemas have them.
TENSOR, OPTIONAL_TENSOR, TENSORS = "Tensor", "Optional[Tensor]", "List[Tensor]"

#: Arguments that are vectors of an entry for each row of the weight, and for each unit.
VECTORS_OF_ROWS = ("bias", "b_input", "gain")
VECTORS_OF_UNITS = ("c_gain", "c_bias")


class Shapes:
    """Empty results of an operation, of the shapes that follow from its arguments.

    Attributes:
        given: the arguments by name.
        first: the first argument, an activation ``[steps, batch, ...]``, or ``[rows, ...]`` of
            packed sequences.
        rows: of the recurrent weight.
        outputs: its columns.
        hidden: how many units there are; ``outputs`` where these are not projected.
    """

    def __init__(self, given: dict[str, object]) -> None:
        self.given = given
        self.first: Tensor = next(iter(given.values()))
        crow, _, t_crow, *_ = given["pattern"]
        self.rows, self.outputs = crow.numel() - 1, t_crow.numel() - 1
        projection = given.get("p_pattern")
        self.hidden = projection[2].numel() - 1 if projection else self.outputs

    def every_step(self, features: int) -> Tensor:
        """Return an activation of so many features at every step."""
        return self.first.new_empty(*self.first.shape[:-1], features)

    def kept(self, features: int) -> Tensor:
        """Return the same, where the forward operation keeps it for the backward pass."""
        return self.every_step(features) if self.given["keep"] else self.nothing()

    def last_step(self, features: int) -> Tensor:
        """Return a state of the dtype of the values, after each sequence's last step."""
        packed = self.given.get("batch_sizes") is not None
        batch = torch.library.get_ctx().new_dynamic_size() if packed else self.first.shape[1]
        return self.values(batch, features)

    def values(self, *shape: int) -> Tensor:
        """Return a tensor of the dtype of the values."""
        return self.given["values"].new_empty(shape)

    def nothing(self) -> Tensor:
        """Return a result that is not wanted."""
        return self.values(0)

    def gradient(self, name: str) -> Tensor:
        """Return the gradient of an argument of the forward operation."""
        given = self.given
        if not given.get("wants_x" if name == "v" else f"wants_{name}", True):
            return self.nothing()
        if name in ("w_input", "b_input") and given["x"] is None:
            return self.nothing()
        if name == "w_input":
            return self.values(self.rows, given["x"].shape[-1])
        if name in VECTORS_OF_ROWS:
            return self.values(self.rows)
        if name in VECTORS_OF_UNITS:
            return self.values(self.hidden)
        if name in ("v", "x") and (name == "v" or "x" not in given):
            return self.every_step(self.rows)
        own: Tensor | None = given[name]
        return self.nothing() if own is None else own.new_empty(own.shape)


def states_and_final(shapes: Shapes) -> tuple[Tensor, Tensor]:
    """Return the states of all steps, and of the last one where the others are rounded."""
    rounds = shapes.first.dtype != shapes.given["values"].dtype
    final = shapes.last_step(shapes.rows) if rounds else shapes.nothing()
    return shapes.every_step(shapes.rows), final


class Derivative:
    """How an operation is differentiated; where each argument comes from is found once, here.

    Args:
        forward: the forward operation.
        backward: the backward operation.
        constants: as :func:`sequence_operation` takes them.

    Attributes:
        gradients: the arguments whose gradients the backward operation returns.
    """

    def __init__(
        self,
        forward: torch._ops.OpOverload,
        backward: torch._ops.OpOverload,
        constants: Mapping[str, Callable[..., object]],
    ) -> None:
        self.gradients = [each.name.removeprefix("d") for each in backward._schema.returns]
        self._run = refuse_second_derivative(backward)
        inputs, results = _kinds(forward._schema.arguments), _kinds(forward._schema.returns)
        taken, known = _kinds(backward._schema.arguments), inputs | results
        self._inputs, self._constants = [*inputs], [*constants.values()]

        saved = [name for name in known if name in taken or name == "w_input"]
        tensors = [name for name in saved if known[name] in (TENSOR, OPTIONAL_TENSOR)]
        lists = [name for name in saved if known[name] == TENSORS]
        others = [name for name in saved if name not in tensors + lists]
        self._tensors, self._lists, self._others = (
            picker([*known], names) for names in (tensors, lists, others)
        )
        pool = [*(f"d{name}" for name in results), *tensors, *lists, *others, *constants]
        pool += [f"wants_{name}" for name in inputs]
        self._place = {name: at for at, name in enumerate(pool)}
        self._arguments, self._plain = picker(pool, [*taken]), len(tensors)

        differentiable = [name for name in results if f"d{name}" in taken]
        kept = [at for at, name in enumerate(results) if name not in differentiable]
        # What is kept for the backward pass has no gradient. But it has to count as if it had one
        # where it alone can tell the backward operation that a second derivative is wanted.
        self._marked = kept if any(name in taken for name in differentiable) else []
        # Otherwise autograd may leave out gradients, and makes no zeros as large as what is kept.
        self._takes_all = all(taken.get(f"d{name}") == TENSOR for name in results)
        self._needed = [
            (self._place[f"d{name}"], self._place[name])
            for name in differentiable
            if name in tensors and taken[f"d{name}"] == TENSOR
        ]

    def save(self, ctx: object, inputs: tuple, output: Tensor | tuple[Tensor, ...]) -> None:
        """Keep what the backward operation takes."""
        results = (output,) if isinstance(output, Tensor) else output
        known = [*inputs, *results]
        if "w_input" in self._place and inputs[self._inputs.index("w_input")] is None:
            known[0] = None  # x
        lists = self._lists(known)
        ctx.save_for_backward(*self._tensors(known), *chain(*lists))
        ctx.lengths = [len(each) for each in lists]
        ctx.others = *self._others(known), *(make(*inputs) for make in self._constants)
        ctx.set_materialize_grads(self._takes_all)
        absent = [at for at, each in enumerate(results) if each.dim() == 1]
        ctx.mark_non_differentiable(*(results[at] for at in {*self._marked, *absent}))

    def backward(self, ctx: object, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return a gradient or None for each argument of the forward operation."""
        needs = dict(zip(self._inputs, ctx.needs_input_grad, strict=True))
        saved, place, lists, at = ctx.saved_tensors, self._place, [], self._plain
        for length in ctx.lengths:
            lists.append(saved[at : at + length])
            at += length
        pool = [*upstream, *saved[: self._plain], *lists, *ctx.others, *needs.values()]
        for at, like in self._needed:
            if pool[at] is None:
                pool[at] = torch.zeros_like(pool[like])
        fused = "w_input" in place
        if fused and not (needs["w_input"] or needs.get("b_input")):
            pool[place["x"]] = None
        found = dict(zip(self.gradients, self._run(*self._arguments(pool)), strict=True))
        if fused and needs["x"]:
            found["x"] = input_gradient(found["v"], pool[place["w_input"]])
        return tuple(found.get(name) if need else None for name, need in needs.items())


def picker(names: list[str], wanted: list[str]) -> Callable[[Sequence], tuple]:
    """Return what takes the values of some names from those of all names."""
    places = [names.index(name) for name in wanted]
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[at] for at in places)


def _kinds(arguments: Sequence[torch._C.Argument]) -> dict[str, str]:
    return {each.name: str(each.type) for each in arguments}


def sequence_operation(
    name: str,
    results: Callable[[Shapes], Tensor | tuple[Tensor, ...]],
    *,
    gradients: Mapping[str, Callable[[Shapes], Tensor]] | None = None,
    constants: Mapping[str, Callable[..., object]] | None = None,
) -> Callable[..., Tensor | tuple[Tensor, ...]]:
    """Make an operation of ``<name>_forward`` and ``<name>_backward``.

    Args:
        name: the public name; ``<name>_ref`` is the reference implementation.
        results: returns the results of the forward operation, without data.
        gradients: the same for gradients that :meth:`Shapes.gradient` does not know, by argument.
        constants: further arguments of the backward operation by name, each a function of the
            arguments of the forward operation.

    Returns:
        The forward operation, differentiable once.
    """
    forward, backward = (
        getattr(native, f"{name}_{way}").default for way in ("forward", "backward")
    )
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
