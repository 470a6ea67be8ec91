"""Sparse layers of other libraries, with the weights of one of ours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks._contest import Contestant
from sparse_engine.nn import SparseLinear, SparseWeight


def torch_csr(weight: SparseWeight) -> Tensor:
    """A copy as torch.sparse's CSR, with the int32 indices that MKL takes as they are."""
    return torch.sparse_csr_tensor(
        weight.crow_indices.int(),
        weight.col_indices,
        weight.values.detach().clone(),
        weight.shape,
        check_invariants=False,
    )


def torch_csr_layer(layer: SparseLinear, x: Tensor) -> Contestant:
    """``torch.sparse.addmm``: with autograd, ``csr @ x`` would form a dense weight gradient."""
    csr, bias = torch_csr(layer.weight).requires_grad_(), bias_of(layer)

    def forward() -> Tensor:
        return torch.sparse.addmm(bias[:, None].expand(-1, len(x)), csr, x.T).T

    return Contestant(forward, {"x": x, "links": csr, "bias": bias})


def torch_sparse_layer(layer: SparseLinear, x: Tensor) -> Contestant:
    """PyG's torch_sparse, which knows int64 indices only."""
    from torch_sparse import SparseTensor

    weight, bias = layer.weight, bias_of(layer)
    values = weight.values.detach().clone().requires_grad_()
    matrix = SparseTensor(
        rowptr=weight.crow_indices,
        col=weight.col_indices.long(),
        value=values,
        sparse_sizes=weight.shape,
    )
    leaves = {"x": x, "links": values, "bias": bias}
    return Contestant(lambda: (matrix @ x.T).T + bias, leaves)


def sparseprop_layer(layer: SparseLinear, x: Tensor) -> Contestant:
    """SparseProp, from a dense matrix whose zeros it leaves out."""
    from sparseprop.modules.linear import SparseLinear as SparsePropLinear

    peer = SparsePropLinear(layer.weight.to_dense().detach(), nn.Parameter(bias_of(layer).detach()))
    return Contestant(lambda: peer(x), {"x": x, "links": peer.W_val, "bias": peer.bias})


def sparselab_layer(layer: SparseLinear, x: Tensor) -> Contestant:
    """SparseLab; its layer draws links of its own, so that ours must be put in their place.

    Its values are padded, row by row, and so cannot be compared with ours link by link.
    """
    import sparselab
    from sparselab.ops import _clear_transpose_cache

    # It keeps transposes by the id of their matrix, which a later one can have, too.
    _clear_transpose_cache()
    peer = sparselab.SparseLinear(*reversed(layer.weight.shape), sparsity=0.5)
    peer._csr = sparselab.PaddedCSR.from_dense(layer.weight.to_dense().detach())
    peer._values = nn.Parameter(torch.from_numpy(peer._csr.values))
    peer.bias = nn.Parameter(bias_of(layer).detach())
    return Contestant(lambda: peer(x), {"x": x, "padded links": peer._values, "bias": peer.bias})


def bias_of(layer: SparseLinear) -> Tensor:
    """A copy of the layer's bias that takes gradients."""
    return layer.bias.detach().clone().requires_grad_()


OPTIONAL = {
    "torch_sparse": torch_sparse_layer,
    "sparseprop": sparseprop_layer,
    "sparselab": sparselab_layer,
}


def installed(layer: SparseLinear, x: Tensor) -> dict[str, Contestant]:
    """The optional peers that can be imported."""
    found = {}
    for name, make in OPTIONAL.items():
        try:
            found[name] = make(layer, x)
        except ImportError:
            continue
    return found
