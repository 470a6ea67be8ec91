"""Layers of converted and quantized models keep what users added to the layers before them."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm
from torch.testing import assert_close

import sparse_engine
from sparse_engine.deploy import to_dense
from sparse_engine.nn import SparseLinear, SparseLSTM


def convert(model, **options):
    return sparse_engine.convert_model(model, density=0.5, **options)


KINDS = {
    "linear": (lambda: nn.Linear(20, 20), convert),
    "lstm": (lambda: nn.LSTM(20, 20), convert),
    "quantized": (lambda: SparseLinear(20, 20, density=0.5), sparse_engine.quantize),
    "quantized_lstm": (lambda: SparseLSTM(20, 20, density=0.5), sparse_engine.quantize),
}


class Model(nn.Module):
    """Model with a hook of its own on its layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.calls = layer, 0
        layer.register_forward_hook(self.count)

    def count(self, *_):
        self.calls += 1

    def forward(self, x):
        return first(self.layer(x))


def first(y):
    return y if torch.is_tensor(y) else y[0]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_hooks_and_attributes_stay(kind, inplace):
    make, change = KINDS[kind]
    model, seen = Model(make()), []
    layer, x = model.layer, torch.randn(3, 2, 20)
    layer.tag, layer._mark = ["a"], 3
    layer.register_buffer("scale", torch.tensor(2.0), persistent=False)
    layer.adapter = nn.Tanh()
    layer.register_forward_pre_hook(lambda m, a, k: ((a[0] * m.scale,), k), with_kwargs=True)
    layer.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    sevens = layer.register_forward_hook(lambda m, a, y: m.adapter(first(y)) * 0 + 7)
    layer.register_forward_hook(lambda *_: seen.append("always"), always_call=True)
    changed = change(model, inplace=inplace).model
    new = changed.layer
    assert new is not layer and new.tag == ["a"] and new._mark == 3
    assert (new.tag is layer.tag) == inplace and "layer.scale" not in changed.state_dict()
    with torch.no_grad():
        assert torch.equal(changed(x), torch.full((3, 2, 20), 7.0))
    assert torch.equal(seen[0], 2 * x) and seen[1:] == ["always"]
    # A hook that is a method of the model is that of the model to which the layer belongs.
    assert changed.calls == 1 and model.calls == inplace
    if inplace:
        sevens.remove()
        with torch.no_grad():
            assert not torch.equal(changed(x), torch.full((3, 2, 20), 7.0))


@pytest.mark.parametrize("kind", ["linear", "lstm"])
def test_backward_hooks_and_frozen_parameters_stay(kind):
    make, change = KINDS[kind]
    layer, seen = make().eval(), []
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_("bias" in name)
    layer.register_full_backward_hook(lambda *_: seen.append("after"))
    layer.register_full_backward_pre_hook(lambda *_: seen.append("before"))
    changed = change(nn.Sequential(layer)).model
    x = torch.randn(3, 2, 20, requires_grad=True)
    first(changed(x)).sum().backward()
    assert seen == ["before", "after"] and not changed[0].training
    for name, parameter in changed.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None) == ("bias" in name), name


@pytest.mark.parametrize(
    "compute",
    [
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        weight_norm,
        parametrizations.orthogonal,
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_what_computed_a_weight_is_gone(compute):
    trained, frozen = nn.Linear(8, 8), nn.Linear(8, 8)
    compute(trained)
    compute(frozen)
    frozen.requires_grad_(False)
    changed = convert(nn.Sequential(trained, frozen)).model
    assert [each.weight.values.requires_grad for each in changed] == [True, False]
    for layer, old in zip(changed, (trained, frozen), strict=True):
        assert {name for name, _ in layer.named_parameters()} == {"weight.values", "bias"}
        assert not layer._forward_pre_hooks and "parametrizations" not in layer._modules
        kept = layer.weight.to_dense() != 0
        assert_close(layer.weight.to_dense()[kept], old.weight[kept])


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_other_layer_can_have(kind):
    make, change = KINDS[kind]
    own, saved = make(), make()
    own.forward = lambda x: x
    saved.register_state_dict_post_hook(lambda *_: None)
    model = nn.Sequential(own, saved)
    changed, report = change(model)
    assert [type(each) for each in changed] == [type(each) for each in model]
    notes = {row.note for row in report.values()} - {"dense"}
    assert notes == {"has a forward of its own", "has hooks of its state dict"}


def test_a_sparse_weight_with_a_hook_stays():
    layer = SparseLinear(20, 20, density=0.5)
    layer.weight.register_forward_hook(lambda m, a, y: y * 0 + 7)
    small, report = sparse_engine.quantize(nn.Sequential(layer))
    assert type(small[0]) is SparseLinear and report["0.weight"].note == "has hooks of its weights"


def test_to_dense_keeps_hooks():
    layer = SparseLinear(6, 6, density=0.5)
    layer.register_forward_hook(lambda m, a, y: y * 0 + 7)
    assert torch.equal(to_dense(nn.Sequential(layer))(torch.randn(2, 6)), torch.full((2, 6), 7.0))
