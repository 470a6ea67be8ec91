"""Learners by how much of the influence they keep."""

from __future__ import annotations

import torch

from sparse_engine.nn import Recurrent
from sparse_engine.nn.options import check_integer
from sparse_engine.online._entries import Entries, Together
from sparse_engine.online._influence import Influence, Kept, Own, Whole
from sparse_engine.online._panels import Panels
from sparse_engine.online.learner import Learner


class RTRL(Learner):
    """Exact gradients by real-time recurrent learning (Williams & Zipser 1989).

    ``J_t = D_t (W J_{t-1}) + I_t`` with ``D_t`` the derivatives of units by their sums and ``I_t``
    the influence within the step. While parameters stay, the sum of the gradients of all steps is
    that of backpropagation through time. With n units, P parameters and B lanes, the influence has
    ``B * n * P`` numbers for each state of a unit, and a step multiplies all of them by W. In a
    stack, parameters of a layer influence that layer and the layers above.

    Args:
        network: see :class:`Learner`.
        storage: None, or ``torch.bfloat16`` to keep the influence in half of the memory, rounded to
            within 2^-8 of its value after each step, for one layer of float32 whose step has one
            product (RNN, LSTM, GRU and the like). Sums and gradients are float32.

    Raises:
        ValueError: another storage, or bfloat16 for another network.

    Example:
        >>> learner = RTRL(SparseRNN(1, 64, density=0.1), storage=torch.bfloat16)
    """

    def __init__(self, network: Recurrent, storage: torch.dtype | None = None) -> None:
        if storage not in (None, torch.bfloat16):
            raise ValueError(f"expected storage of None or torch.bfloat16, found {storage}")
        super().__init__(network)
        if storage and (not self._fits_panels or network.num_layers > 1):
            raise ValueError(
                "expected one layer whose step has one product for storage of torch.bfloat16, "
                f"found {network.num_layers} of {type(network).__name__}"
            )
        if storage and network.dtype != torch.float32:
            raise ValueError(
                f"expected float32 for storage of torch.bfloat16, found {network.dtype}"
            )
        self.storage = storage
        last = network.num_layers - 1
        lower = [each for each in self._entries if each.layer < last]
        if self._fits_panels and len(lower) < len(self._entries):
            self._entries = [*lower, Together(self._entries[len(lower) :])]

    def _carry(self, entries: Entries, lanes: int) -> Influence:
        network = self.network
        states, units = len(network.states), network.hidden_size
        if isinstance(entries, Together):
            (weight,) = self._weights(f"l{entries.layer}").recurrent
            dtype = self.storage or network.dtype
            return Panels(entries, lanes, states, units, weight, dtype)
        return Whole(entries, lanes, states, units, network.num_layers)


class SnAp(Learner):
    """The sparse n-step approximation of RTRL (Menick et al. 2021).

    Of the influence only those entries are kept, at every step, by which a parameter reaches a unit
    within ``order`` products of the recurrence. SnAp-1 keeps one number per link and state:
    ``J <- D_i (W_ii J + source)``. SnAp-2 adds the units that read the link's own unit. Where
    ``order`` products reach every unit, SnAp is RTRL. Between the layers of a stack, gradients pass
    within the step only.

    Args:
        network: see :class:`Learner`.
        order: number of products n, at least 1.

    Example:
        >>> learner = SnAp(SparseRNN(1, 64, density=0.1), order=2)
    """

    def __init__(self, network: Recurrent, order: int = 1) -> None:
        check_integer("order", order, least=1)
        self.order = order
        super().__init__(network)

    def _carry(self, entries: Entries, lanes: int) -> Influence:
        network = self.network
        weights = self._weights(f"l{entries.layer}").recurrent
        sizes = lanes, len(network.states), network.hidden_size
        if self.order == 1:
            return Own(entries, *sizes, True, weights)
        return Kept(entries, *sizes, self.order, weights)


class EProp(Learner):
    """Eligibility propagation (Bellec et al. 2020) with the gradient of the loss as the signal.

    The influence of a parameter is carried by the states of its own unit alone, through no link,
    not even of the unit to itself: ``e <- (ds_t / ds_{t-1}) e + ds_t / dtheta``. For an LSTM that
    is ``e_c <- f e_c + ...``. Between the layers of a stack, gradients pass within the step.

    Args:
        network: see :class:`Learner`.

    Example:
        >>> learner = EProp(SparseLSTM(1, 64, density=0.1))
    """

    def _carry(self, entries: Entries, lanes: int) -> Influence:
        network = self.network
        weights = self._weights(f"l{entries.layer}").recurrent
        return Own(entries, lanes, len(network.states), network.hidden_size, False, weights)


class RFLO(EProp):
    """Random-feedback local online learning (Murray 2019) with the loss's own gradient.

    ``e <- (1 - a) e + a D source`` for units that leak by ``a`` in each step; e-prop of a
    network with one state per unit. The paper's random feedback is a matter of the readout.

    Args:
        network: see :class:`Learner`, with one state per unit.

    Raises:
        ValueError: a network with several states, such as an LSTM, for which there is
            :class:`EProp`.

    Example:
        >>> learner = RFLO(SparseCTRNN(1, 64, density=0.1))
    """

    def _refuse(self, network: Recurrent) -> None:
        if len(network.states) > 1:
            raise ValueError(
                f"expected a network with one state for RFLO, found {network.states}; EProp "
                "carries several"
            )
