"""Quantized models: what they compute, report, save, load and export."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file
from testing import refusals
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.testing import assert_close

import sparse_engine
from sparse_engine.deploy.quantized import (
    QuantizedGRU,
    QuantizedLinear,
    QuantizedLSTM,
    QuantizedRNN,
)
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN
from sparse_engine.nn._step import quick_step

QUANTIZED = {SparseRNN: QuantizedRNN, SparseLSTM: QuantizedLSTM, SparseGRU: QuantizedGRU}
DTYPES = [torch.int8, torch.bfloat16]


class Model(nn.Module):
    def __init__(self, kind=SparseLSTM, **options):
        super().__init__()
        self.rnn = kind(6, 40, density=0.3, **options)
        self.head = SparseLinear(40 * (1 + self.rnn.bidirectional), 16, density=0.5)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


OPTIONS = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"bias": False, "batch_first": True},
    {"num_layers": 2, "input_density": 0.5},
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", QUANTIZED)
@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_outputs_are_near_and_those_of_the_rounded_weights(kind, options, dtype):
    model = Model(kind, **options).eval()
    for batch in (1, 3, 7):
        x = torch.randn(5, batch, 6)
        small, report = sparse_engine.quantize(model, dtype=dtype)
        assert type(small.rnn) is QUANTIZED[kind] and type(small.head) is QuantizedLinear
        assert not small.training and not any(p.requires_grad for p in small.parameters())
        expected = model(x)
        assert 0 < (small(x) - expected).abs().max() < 0.05 * expected.square().mean().sqrt() + 0.01
        assert report.bytes_after < report.bytes_before
        dense = nn.Sequential(small.rnn.to_dense(), small.head.to_dense())
        assert_close(dense[1](dense[0](x)[0]), small(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", QUANTIZED)
@torch.no_grad()
def test_steps_are_the_sequence(kind):
    small = sparse_engine.quantize(kind(6, 40, 2, density=0.3)).model
    for shape in ((5, 2, 6), (5, 6)):
        x, state, outputs = torch.randn(shape), None, []
        for each in x:
            quick = quick_step(small, each, state)
            assert quick is not None
            y, state = small.step(each, state)
            assert torch.equal(quick[0], y)
            outputs.append(y)
        assert_close(torch.stack(outputs), small(x)[0], rtol=1e-5, atol=1e-6)
        assert_close(state, small(x)[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", QUANTIZED)
@torch.no_grad()
def test_packed_sequences_and_lengths(kind):
    sparse = kind(6, 40, density=0.3)
    small = sparse_engine.quantize(sparse).model
    sequences = [torch.randn(length, 6) for length in (2, 5, 3)]
    packed = small(pack_sequence(sequences, enforce_sorted=False))[0].data
    expected = sparse(pack_sequence(sequences, enforce_sorted=False))[0].data
    assert_close(packed, expected, rtol=0.05, atol=0.02)
    for at, each in enumerate(sequences):
        padded = nn.utils.rnn.pad_sequence(sequences)
        y = small(padded, lengths=[2, 5, 3])[0][: len(each), at]
        assert_close(y, small(each)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_errors_in_the_report(dtype):
    layer = SparseLinear(50, 40, density=0.5)
    small, report = sparse_engine.quantize(layer, dtype=dtype)
    dense = layer.weight.to_dense().detach()
    error = float((small.weight.to_dense() - dense).norm() / dense.norm())
    assert_close(report["weight"].error, error, rtol=1e-4, atol=0)
    assert report["weight"].bytes_after == small.weight.nbytes


@pytest.mark.parametrize(
    ("layer", "note"),
    [
        (SparseLSTM(6, 40, proj_size=10, density=0.3), "has proj_size"),
        (SparseRNN(6, 40, layer_norm=True, density=0.3), "has layer_norm"),
        (SparseLinear(64, 40, density=0.3, dtype=torch.float64), "not float32"),
        (SparseLinear(900, 900, density=0.001), "smaller as it is"),
    ],
)
def test_layers_that_stay(layer, note):
    model, report = sparse_engine.quantize(nn.Sequential(layer))
    assert type(model[0]) is type(layer) and {row.note for row in report.values()} == {note}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", QUANTIZED)
@torch.no_grad()
def test_a_saved_model_loads_into_another(kind, dtype, tmp_path):
    options = {"num_layers": 2, "input_density": 0.5}
    small = sparse_engine.quantize(Model(kind, **options), dtype=dtype).model
    other = sparse_engine.quantize(Model(kind, **options), dtype=dtype).model
    x = torch.randn(4, 2, 6)
    save_file(small.state_dict(), tmp_path / "model.safetensors")
    saved = load_file(tmp_path / "model.safetensors")
    for assign in (False, True):
        fresh = copy.deepcopy(other)
        assert not torch.equal(fresh(x), small(x))
        fresh.load_state_dict(saved, assign=assign)
        assert torch.equal(fresh(x), small(x))


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("ends", lambda t: t.flip(0), "ends that never fall"),
        ("ends", lambda t: t[:-1], "ends of shape"),
        ("ends", lambda t: t.long(), "ends of torch.int32"),
        ("places", lambda t: t + 64, r"places in \[0, 64\), found \d+ at \(0, 0\)"),
        ("places", lambda t: t[1:], "places of shape"),
        ("codes", lambda t: t.float(), "codes of int8 or bfloat16"),
        ("codes", lambda t: t.flatten(), "codes of shape"),
        ("scales", lambda t: t * torch.nan, "finite scales"),
        ("scales", lambda t: t[1:], "scales of shape"),
        ("scales", lambda t: None, "weight_hh_l0: expected scales to be a tensor, found NoneType"),
        ("codes", lambda t: "codes", "weight_hh_l0: expected codes to be a tensor, found str"),
    ],
)
def test_a_state_dict_that_is_no_matrix(name, wrong, message):
    small = sparse_engine.quantize(Model()).model
    state = small.state_dict()
    before = {key: each.clone() for key, each in state.items()}
    state[f"rnn.weight_hh_l0.{name}"] = wrong(state[f"rnn.weight_hh_l0.{name}"])
    with pytest.raises(RuntimeError, match=message):
        small.load_state_dict(state)
    del state[f"rnn.weight_hh_l0.{name}"]
    with pytest.raises(RuntimeError, match="Missing key"):
        small.load_state_dict(state)
    assert all(torch.equal(each, before[key]) for key, each in small.state_dict().items())


def test_dtypes_of_codes_stay():
    small = sparse_engine.quantize(SparseLinear(50, 40, density=0.5), dtype=torch.bfloat16).model
    moved = copy.deepcopy(small).double()
    assert moved.weight.codes.dtype == torch.bfloat16
    assert moved.weight.scales.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")  # in torch
@pytest.mark.parametrize("kind", QUANTIZED)
@torch.no_grad()
def test_export(kind, tmp_path):
    small = sparse_engine.quantize(Model(kind).eval()).model
    x = torch.randn(4, 2, 6)
    torch.export.save(torch.export.export(small, (x,)), tmp_path / "model.pt2")
    assert torch.equal(torch.export.load(tmp_path / "model.pt2").module()(x), small(x))


@torch.no_grad()
def test_autocast_leaves_float32():
    small = sparse_engine.quantize(Model().eval()).model
    x = torch.randn(4, 2, 6)
    expected = small(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(small.rnn(x)[0].float(), small.rnn(x)[0], rtol=0.02, atol=0.02)
        assert_close(small(x).float(), expected, rtol=0.05, atol=0.02)


test_training_and_other_dtypes_are_refused = refusals(
    (
        "for inference",
        lambda: sparse_engine.quantize(Model()).model(torch.randn(4, 2, 6).requires_grad_()),
    ),
    (r"found torch\.float16", lambda: sparse_engine.quantize(Model(), dtype=torch.float16)),
    error=(ValueError, RuntimeError),
)
