"""Dense models made sparse, and weights that a wider or deeper network inherits."""

import copy

import pytest
import torch
from testing import refusals
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm
from torch.testing import assert_close

import sparse_engine
from sparse_engine.deploy import (
    ActivationAware,
    Criterion,
    GateMagnitude,
    LargestMagnitude,
    to_dense,
)
from sparse_engine.deploy.criteria import rowwise_mask
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN, SparseWeight

SPARSE = {nn.RNN: SparseRNN, nn.LSTM: SparseLSTM, nn.GRU: SparseGRU}


class Model(nn.Module):
    def __init__(self, kind=nn.LSTM, **options):
        super().__init__()
        self.embed = nn.Linear(6, 10)
        self.rnn = kind(10, 24, num_layers=2, **options)
        self.heads = nn.ModuleList([nn.Linear(24 * (1 + self.rnn.bidirectional), 3) for _ in "ab"])

    def forward(self, x):
        y = self.rnn(self.embed(x))[0]
        return self.heads[0](y) + self.heads[1](y)


@pytest.mark.parametrize("kind", SPARSE)
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "bias": False}])
def test_a_model_whose_links_are_all_kept_computes_the_same(kind, options):
    model, x = Model(kind, **options).eval(), torch.randn(5, 3, 6)
    sparse, report = sparse_engine.convert_model(model, density=1.0, input_density=1.0)
    assert type(sparse.rnn) is SPARSE[kind] and type(sparse.embed) is SparseLinear
    assert not sparse.training and all(row.error == 0 for row in report.values())
    assert_close(sparse(x), model(x))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")  # of dense
@pytest.mark.parametrize("training", [True, False])
def test_an_encoder_of_torch_without_its_fast_path(training):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    dense = nn.TransformerEncoder(layer, 2).train(training)
    sparse = sparse_engine.convert_model(dense, density=1.0).model
    x, padding = torch.randn(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    with torch.no_grad():
        assert_close(sparse(x), dense(x))
        found, wanted = (each(x, src_key_padding_mask=padding) for each in (sparse, dense))
    assert_close(found[~padding], wanted[~padding])


def test_rules_by_name_and_pattern():
    model = Model()
    rules = {"rnn.weight_ih_l0": 0.5, "rnn": 0.25, "heads.*": None}
    sparse, report = sparse_engine.convert_model(model, density=0.1, rules=rules)
    assert sparse.embed.weight.nnz == round(0.1 * 60)
    assert sparse.rnn.weight_ih_l0.nnz == round(0.5 * 96 * 10)
    assert sparse.rnn.weight_hh_l0.nnz == sparse.rnn.weight_ih_l1.nnz == round(0.25 * 96 * 24)
    assert type(sparse.heads[0]) is nn.Linear and report["heads.0.weight"].note == "dense"


def test_without_a_density_only_rules_convert():
    sparse, report = sparse_engine.convert_model(Model(), rules={"heads.1": 0.5})
    assert type(sparse.rnn) is nn.LSTM and type(sparse.heads[1]) is SparseLinear
    assert [name for name, row in report.items() if row.density < 1] == ["heads.1.weight"]


@pytest.mark.parametrize("inplace", [False, True])
def test_the_model_itself_changes_only_where_it_shall(inplace):
    model = Model()
    before = copy.deepcopy(model.state_dict())
    sparse, _ = sparse_engine.convert_model(model, density=0.2, inplace=inplace)
    assert (sparse is model) == inplace
    if not inplace:
        assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_the_report_agrees_with_the_model():
    model = Model()
    sparse, report = sparse_engine.convert_model(model, density=0.3)
    checked = 0
    for name, weight in sparse.named_modules():
        if isinstance(weight, SparseWeight):
            row, dense = report[name], model.get_parameter(name).detach()
            held = [weight.values, weight.col_indices, weight.crow_indices]
            assert row.bytes_after == sum(each.nbytes for each in held)
            assert row.density == weight.density and row.shape == weight.shape
            assert_close(
                row.error, float((weight.to_dense().detach() - dense).norm() / dense.norm())
            )
            checked += 1
    assert checked == 6
    total = str(report).splitlines()[-1]
    assert (
        f"{report.bytes_after / 1e3:.1f}" in total and f"{report.bytes_before / 1e3:.1f}" in total
    )


def test_a_module_under_two_names_stays_one():
    layer = nn.Linear(5, 5)
    sparse, _ = sparse_engine.convert_model(nn.Sequential(layer, nn.Tanh(), layer), density=0.4)
    assert sparse[0] is sparse[2] and type(sparse[0]) is SparseLinear


def test_a_tied_weight_stays_dense():
    model = nn.ModuleDict({"embedding": nn.Embedding(7, 5), "decoder": nn.Linear(5, 7)})
    model["decoder"].weight = model["embedding"].weight
    sparse, report = sparse_engine.convert_model(model, density=0.4)
    assert sparse["decoder"].weight is sparse["embedding"].weight
    assert report["decoder.weight"].note == "shared with another module"


class Nothing(Criterion):
    def mask(self, name, values, density, gates):
        return torch.zeros_like(values, dtype=torch.bool)


def test_a_criterion_of_ones_own():
    sparse, report = sparse_engine.convert_model(Model(), density=0.5, criterion=Nothing())
    assert sparse.rnn.weight_hh_l0.nnz == 0 and report["embed.weight"].error == 1


def test_gates_of_different_scales():
    dense = nn.LSTM(4, 20)
    with torch.no_grad():
        dense.weight_hh_l0[:20] *= 1e-3
    by_gate, _ = sparse_engine.convert_model(dense, density=0.25, criterion=GateMagnitude())
    assert by_gate.weight_hh_l0.fan_in().view(4, 20).sum(1).tolist() == [100] * 4
    together, _ = sparse_engine.convert_model(dense, density=0.25, criterion=LargestMagnitude())
    assert together.weight_hh_l0.fan_in().view(4, 20).sum(1)[0] == 0


def test_rows_keep_the_same_number():
    scores = torch.rand(7, 11)
    mask = rowwise_mask(scores, 0.5)
    assert mask.sum() == round(0.5 * 77) and set(mask.sum(1).tolist()) <= {5, 6}
    for row in range(7):
        assert scores[row][mask[row]].min() > scores[row][~mask[row]].max()


@pytest.mark.parametrize("kind", SPARSE)
def test_activation_aware_norms_are_those_of_what_weights_multiply(kind):
    model, batches = Model(kind, bidirectional=True), [torch.randn(5, 3, 6) for _ in range(2)]
    criterion = ActivationAware(batches)
    criterion.calibrate(model)
    x = torch.cat(batches, 1)
    embedded = model.embed(x)
    first = kind(10, 24, bidirectional=True)
    own = {name: each for name, each in model.rnn.named_parameters() if "l0" in name}
    first.load_state_dict(own)
    hidden, outputs = first(embedded)[0], model.rnn(embedded)[0]

    def norms(rows):
        return rows.detach().double().flatten(0, 1).norm(dim=0)

    for name, expected in {
        "embed.weight": norms(x),
        "rnn.weight_ih_l0_reverse": norms(embedded),
        "rnn.weight_hh_l0": norms(hidden)[:24],
        "rnn.weight_hh_l0_reverse": norms(hidden)[24:],
        "rnn.weight_ih_l1": norms(hidden),
        "rnn.weight_hh_l1_reverse": norms(outputs)[24:],
        "heads.1.weight": norms(outputs),
    }.items():
        assert_close(criterion.norms[name], expected, rtol=1e-4, atol=1e-5)
    assert model.training


def test_an_input_that_is_always_zero_loses_its_links():
    x = torch.randn(50, 8) * torch.tensor([1.0] * 4 + [0.0] * 4)
    model = nn.Linear(8, 6)
    aware, _ = sparse_engine.convert_model(model, density=0.5, criterion=ActivationAware([x]))
    assert_close(aware(x), model(x))
    by_size, _ = sparse_engine.convert_model(model, density=0.5)
    assert (by_size(x) - model(x)).abs().max() > 0.01


def converted(model=None, **options):
    return lambda: sparse_engine.convert_model(Model() if model is None else model, **options)


def first_of_two():
    model = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    model.forward = lambda x: model[0](x)
    return model


NOT_FINITE, SHORT = torch.tensor([[0.0, torch.nan, 0]]), [torch.randn(2, 3)]
test_what_does_not_fit_is_refused = refusals(
    ("expected a density or rules", converted()),
    (r"density in \(0, 1\], found 0", converted(density=0.0)),
    ("found 'head'", converted(rules={"head": 0.1})),
    ("found 2", converted(rules={"heads.0": 2})),
    ("at least one calibration batch", converted(density=0.1, criterion=ActivationAware([]))),
    ("found -1", converted(density=0.1, criterion=LargestMagnitude(), input_density=-1)),
    (r"reach 1\.weight", converted(first_of_two(), density=0.5, criterion=ActivationAware(SHORT))),
    (
        r"inputs of 0\.weight, found a norm of nan at input 1",
        converted(first_of_two(), density=0.5, criterion=ActivationAware([NOT_FINITE])),
    ),
)


def convert(model, **options):
    return sparse_engine.convert_model(model, density=0.5, **options)


KINDS = {
    "linear": (lambda: nn.Linear(20, 20), convert),
    "lstm": (lambda: nn.LSTM(20, 20), convert),
    "quantized": (lambda: SparseLinear(20, 20, density=0.5), sparse_engine.quantize),
    "quantized_lstm": (lambda: SparseLSTM(20, 20, density=0.5), sparse_engine.quantize),
}


class Model_of_inheritance(nn.Module):
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
    model, seen = Model_of_inheritance(make()), []
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
