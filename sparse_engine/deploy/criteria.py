"""Criteria by which a dense weight keeps entries when it becomes sparse.

A criterion of your own is a class with one method, :meth:`Criterion.mask`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sparse_engine.nn._initial import density_nnz
from sparse_engine.nn.from_torch import effective, magnitude_mask


class Criterion:
    """Decision which entries of a dense weight become links.

    Example:
        >>> class FirstRows(Criterion):
        ...     def mask(self, name, values, density, gates):
        ...         row = torch.arange(len(values))[:, None]
        ...         return (row < density * len(values)).expand_as(values)
    """

    def calibrate(self, model: nn.Module) -> None:
        """Look at the dense model before its first weight is converted; by default nothing."""

    def mask(self, name: str, values: Tensor, density: float, gates: int) -> Tensor:
        """Return a bool mask ``[out_features, in_features]`` of the entries to keep.

        Args:
            name: name of the weight in the model, such as ``"encoder.weight_hh_l0"``.
            values: the weight, ``[out_features, in_features]``.
            density: fraction of the entries to keep, in (0, 1].
            gates: number of blocks of rows, one for each gate: 4 in an LSTM, 3 in a GRU, else 1.
        """
        raise NotImplementedError


class LargestMagnitude(Criterion):
    """Keep the largest entries of each weight by magnitude (Han et al. 2015).

    Example:
        >>> sparse = convert_model(nn.Linear(6, 6), density=0.5, criterion=LargestMagnitude())
    """

    def mask(self, name: str, values: Tensor, density: float, gates: int) -> Tensor:
        """Return a mask of exactly ``density`` times as many entries."""
        return magnitude_mask(values, density)


class GateMagnitude(Criterion):
    """Keep the largest entries of each gate by magnitude, the same fraction in every gate.

    Gates differ in scale: one threshold for all of them can leave a gate nearly without links.

    Example:
        >>> sparse = convert_model(nn.LSTM(3, 16), density=0.1, criterion=GateMagnitude())
    """

    def mask(self, name: str, values: Tensor, density: float, gates: int) -> Tensor:
        """Return a mask of exactly ``density`` times as many entries of each gate."""
        return torch.cat([magnitude_mask(block, density) for block in values.chunk(gates)])


class ActivationAware(Criterion):
    """Keep in each row the largest ``|w| * norm of the input`` (Wanda; Sun et al. 2024).

    Entries are compared within their output row only, and all rows keep nearly the same number.
    The norm of an input feature is taken over all samples and steps of the calibration batches. For
    a recurrent weight it is the norm of the states that the dense network computes.

    Args:
        batches: inputs of the model; a tuple holds several arguments. A few hundred samples from
            the training data are enough.

    Example:
        >>> criterion = ActivationAware(x for x, _ in itertools.islice(loader, 8))
        >>> sparse, report = convert_model(model, density=0.2, criterion=criterion)
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches
        self.norms: dict[str, Tensor] = {}

    @torch.no_grad()
    def calibrate(self, model: nn.Module) -> None:
        """Run the batches through the dense model in eval mode, and sum squares of layers' inputs.

        Raises:
            ValueError: there is no batch.
        """
        squares: dict[str, Tensor] = {}

        def add(prefix: str, module: nn.Module, inputs: tuple) -> None:
            for name, x in _multiplied(module, *inputs):
                rows = x.data if isinstance(x, PackedSequence) else x
                total = rows.reshape(-1, rows.shape[-1]).double().square().sum(0)
                squares[prefix + name] = squares.get(prefix + name, 0) + total

        hooks = [
            module.register_forward_pre_hook(partial(add, f"{name}." if name else ""))
            for name, module in model.named_modules(remove_duplicate=False)
            if isinstance(module, nn.Linear | nn.RNNBase)
        ]
        training = {module: module.training for module in model.modules()}
        count = 0
        try:
            model.eval()
            for batch in self.batches:
                model(*batch) if isinstance(batch, tuple) else model(batch)
                count += 1
        finally:
            for hook in hooks:
                hook.remove()
            for module, mode in training.items():
                module.training = mode
        if not count:
            raise ValueError("expected at least one calibration batch, found none")
        self.norms = {name: total.sqrt() for name, total in squares.items()}

    def mask(self, name: str, values: Tensor, density: float, gates: int) -> Tensor:
        """Return a mask of exactly ``density`` times as many entries.

        Rows keep the same number of entries; those that are left over go to the rows whose next
        entry has the largest score.

        Raises:
            ValueError: the calibration batches have not reached the weight, or its inputs are not
                finite.
        """
        if name not in self.norms:
            raise ValueError(
                f"expected calibration batches that reach {name}, found none that does"
            )
        norms = self.norms[name].to(values)
        wrong = (~norms.isfinite()).nonzero()
        if wrong.numel():
            raise ValueError(
                f"expected calibration batches with finite inputs of {name}, found a norm of "
                f"{float(norms[wrong[0, 0]])} at input {int(wrong[0, 0])}"
            )
        return rowwise_mask(values.abs() * norms, density)


def rowwise_mask(scores: Tensor, density: float) -> Tensor:
    """Return a mask of the largest scores of each row, ``density`` times as many in all."""
    rows, columns = scores.shape
    in_each, left = divmod(density_nnz(rows, columns, density), max(1, rows))
    order = scores.argsort(dim=1, descending=True, stable=True)
    mask = torch.zeros_like(scores, dtype=torch.bool)
    mask.scatter_(1, order[:, :in_each], True)
    if left:
        following = order[:, in_each]
        best = scores.gather(1, following[:, None])[:, 0].topk(left).indices
        mask[best, following[best]] = True
    return mask


def _multiplied(layer: nn.Module, x: Any, hx: Any = None) -> Iterable[tuple[str, Any]]:
    """Yield the name of each weight of a layer with the rows that the weight multiplies.

    The layers of a recurrent network are run one by one, as the network as a whole shows the states
    of its last layer only. The inputs of a projection are not seen: they count as equal.
    """
    if not isinstance(layer, nn.RNNBase):
        yield "weight", x
        return
    ways = ("", "_reverse") if layer.bidirectional else ("",)
    for at in range(layer.num_layers):
        y = _layer_of(layer, at)(x, _states_of(hx, at, len(ways)))[0]
        rows = y.data if isinstance(y, PackedSequence) else y
        for way, h in zip(ways, rows.chunk(len(ways), -1), strict=True):
            yield f"weight_ih_l{at}{way}", x
            yield f"weight_hh_l{at}{way}", h
            if layer.proj_size:
                yield f"weight_hr_l{at}{way}", h.new_ones(1, layer.hidden_size)
        x = y


def _states_of(hx: Any, layer: int, ways: int) -> Any:
    """Return the initial states of one layer, from those of all."""
    if hx is None or isinstance(hx, Tensor):
        return None if hx is None else hx.unflatten(0, (-1, ways))[layer]
    return tuple(_states_of(each, layer, ways) for each in hx)


def _layer_of(network: nn.RNNBase, layer: int) -> nn.RNNBase:
    """Return one layer of a network as a network of its own, which shares the weights."""
    names = ["hidden_size", "bias", "batch_first", "bidirectional"]
    names += ["nonlinearity"] if isinstance(network, nn.RNN) else []
    names += ["proj_size"] if network.proj_size else []
    inputs = effective(network, f"weight_ih_l{layer}")[0].shape[1]
    kind: Any = next(each for each in (nn.RNN, nn.LSTM, nn.GRU) if isinstance(network, each))
    single = kind(inputs, device="meta", **{name: getattr(network, name) for name in names})
    for name in [name for name, _ in single.named_parameters()]:
        own = effective(network, name.replace("_l0", f"_l{layer}"))[0]
        setattr(single, name, nn.Parameter(own, requires_grad=False))
    single.flatten_parameters()
    return single
