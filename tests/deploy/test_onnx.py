"""ONNX gets dense weights, and says so where it is given sparse ones."""

import importlib.util

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import sparse_engine
from sparse_engine.deploy import to_dense
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN

NETWORKS = [SparseRNN, SparseLSTM, SparseGRU]
HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript"))
pytestmark = [
    pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Exporting a model to ONNX with a batch_size:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:onnx.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
]


class Model(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.head = kind(6, 20, density=0.3), SparseLinear(20, 16, density=0.5)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def models(kind):
    model = Model(kind).eval()
    return {"sparse": model, "quantized": sparse_engine.quantize(model).model}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("which", ["sparse", "quantized"])
@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_sparse_weights_are_refused(kind, which, dynamo, tmp_path):
    if not HAS_ONNX and dynamo:
        pytest.skip("needs onnx and onnxscript")
    model = models(kind)[which]
    with pytest.raises(RuntimeError) as raised:
        torch.onnx.export(model, (torch.randn(3, 2, 6),), tmp_path / "x.onnx", dynamo=dynamo)
    texts, error = [], raised.value
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    assert any("export what to_dense() of each sparse layer" in text for text in texts)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("which", ["sparse", "quantized"])
@torch.no_grad()
def test_a_dense_model_computes_the_same(kind, which):
    model, x = models(kind)[which], torch.randn(3, 2, 6)
    dense = to_dense(model)
    assert type(dense.rnn) is kind.cell_type.dense_type and type(dense.head) is nn.Linear
    assert not dense.training and type(model.head) is not nn.Linear
    assert_close(dense(x), model(x), rtol=1e-4, atol=1e-5)
    assert to_dense(model, inplace=True) is model and type(model.head) is nn.Linear


@pytest.mark.skipif(not HAS_ONNX, reason="needs onnx and onnxscript")
@pytest.mark.parametrize("kind", NETWORKS)
@torch.no_grad()
def test_a_dense_model_exports(kind, tmp_path):
    import onnx

    dense = to_dense(Model(kind).eval())
    torch.onnx.export(dense, (torch.randn(3, 2, 6),), tmp_path / "x.onnx", dynamo=False)
    found = onnx.load(tmp_path / "x.onnx")
    onnx.checker.check_model(found)
    assert {"MatMul", "Add"} <= {node.op_type for node in found.graph.node}
