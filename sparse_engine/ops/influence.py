"""One time step of the influence of parameters on states, for real-time recurrent learning."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import checked, native
from sparse_engine.ops._sequence import with_reference
from sparse_engine.ops.pattern import Pattern

#: Number of entries in a panel.
COLUMNS = 64


def _influence_ref(
    influence: Tensor,
    values: Tensor,
    pattern: Pattern,
    of_source: Tensor,
    of_state: Tensor,
    of_product: Tensor,
    immediate: Tensor,
    unit: Tensor,
    upstream: Tensor | None = None,
) -> Tensor | None:
    lanes, panels, _, units, columns = influence.shape
    before = influence.to(values.dtype)
    source = torch.einsum("bsi,bpsic->bpic", of_source, before)
    sums = torch.einsum("ri,bpic->bprc", pattern.dense(values), source)
    sums = sums.view(lanes, panels, -1, units, columns)
    new = torch.einsum("btsi,bpsic->bptic", of_state, before)
    new += torch.einsum("btgi,bpgic->bptic", of_product, sums)
    for entry, row in enumerate(unit.tolist()):
        panel, column = divmod(entry, columns)
        new[:, panel, :, row, column] += immediate[:, :, entry]
    influence.copy_(new)
    return None if upstream is None else torch.einsum("bi,bpic->pc", upstream, new[:, :, 0]).ravel()


@with_reference(_influence_ref)
def influence(
    influence: Tensor,
    values: Tensor,
    pattern: Pattern,
    of_source: Tensor,
    of_state: Tensor,
    of_product: Tensor,
    immediate: Tensor,
    unit: Tensor,
    upstream: Tensor | None = None,
) -> Tensor | None:
    """Carry the influence of entries on states over one time step, in place.

    With J[s] the influence on state s, one column for each entry, and P the influence on the sums,
    in blocks of ``units`` rows for each gate g::

        P = W @ sum(of_source[s] * J[s])
        J[t] = sum(of_state[t, s] * J[s]) + sum(of_product[t, g] * P[g])
        J[t][unit[e], e] += immediate[t, e]

    Threads share panels; results have the same bits for any number of threads.

    Args:
        influence: ``[lanes, panels, states, units, 64]``, changed in place; one or two states. With
            float32 values it may be bfloat16: it is rounded after the gradient is computed.
        values: ``[nnz]``, float32 or float64, as all others.
        pattern: the links of W, ``gates * units x units``.
        of_source: ``[lanes, states, units]``, derivatives of what W multiplies by states.
        of_state: ``[lanes, states, states, units]``, those of each state by those before.
        of_product: ``[lanes, states, gates, units]``, those of each state by the sums.
        immediate: ``[lanes, states, panels * 64]``.
        unit: int32 ``[panels * 64]``, the unit that each entry enters.
        upstream: ``[lanes, units]``, the gradient by the first state, or None.

    Returns:
        The gradient of each entry, ``[panels * 64]``, summed over lanes; None without upstream.
    """
    given = of_source, of_state, of_product, immediate, unit, upstream
    found = checked(native.influence, influence, values, [*pattern], *given)
    if upstream is None:
        return None
    return found[0] if len(found) == 1 else found.sum(0)


@fake("influence")
def _(influence, values, unit, upstream, **_):
    lanes = influence.shape[0]
    return values.new_empty((0,) if upstream is None else (lanes, unit.numel()))
