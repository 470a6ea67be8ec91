"""Sparse networks beside their dense counterparts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from sparse_engine.nn import SparseRNN

INPUTS, UNITS = 6, 21


@pytest.fixture(scope="session")
def make_rnn():
    """Makes a small SparseRNN of 6 inputs and 21 units, the same at every call."""

    def make(dtype: torch.dtype = torch.float64, **options) -> SparseRNN:
        generator = torch.Generator().manual_seed(4)
        options = {"density": 0.3, "dtype": dtype, "generator": generator} | options
        return SparseRNN(INPUTS, UNITS, **options)

    return make


def gradients_at_links(
    network: nn.Module, dense: nn.Module
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each parameter's gradient, with the dense counterpart's for the same entries."""
    own = dict(network.named_parameters())
    for name, parameter in dense.named_parameters():
        if name in own:
            yield name, own[name].grad, parameter.grad
        else:
            weight = network.get_submodule(name)
            at = weight.rows(), weight.col_indices.long()
            yield name, weight.values.grad, parameter.grad[at]


@pytest.fixture(scope="session")
def check_like_dense():
    """Checks results and all gradients of a network against those of a dense one."""

    def check(
        network: nn.Module,
        dense: nn.Module,
        leaves: list[Tensor],
        bound: float,
        *,
        run: tuple[nn.Module, nn.Module] | None = None,
    ) -> None:
        close = {"rtol": bound, "atol": bound}
        own = [leaf.clone().requires_grad_() for leaf in leaves]
        other = [leaf.clone().requires_grad_() for leaf in leaves]
        call, call_dense = run or (network, dense)
        results, wanted = call(*own), call_dense(*other)
        if isinstance(results, Tensor):
            results, wanted = (results,), (wanted,)
        upstream = [torch.randn_like(result) for result in wanted]
        for result, expected in zip(results, wanted, strict=True):
            assert_close(result, expected, **close)
        torch.autograd.backward(results, upstream)
        torch.autograd.backward(wanted, upstream)
        for leaf, expected in zip(own, other, strict=True):
            assert_close(leaf.grad, expected.grad, **close)
        for name, grad, expected in gradients_at_links(network, dense):
            assert_close(grad, expected, **close, msg=lambda text, name=name: f"{name}: {text}")

    return check
