"""Files that are no network are refused, with a status and a text, whatever they hold."""

import json
import struct

import numpy as np
import pytest
import torch
from c_library.calls import (
    ARGUMENT,
    FILE,
    FORMAT,
    MISSING,
    UNSUPPORTED,
    Network,
    Opened,
    Refused,
    checked,
)
from exhaustive.test_files import with_bytes_changed
from safetensors.torch import save, save_file

from sparse_engine.deploy import quantize
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN


def network(**options):
    return SparseLSTM(5, 8, density=0.4, **options)


def load(library, content, tmp_path, name="", kind="lstm", inputs=5):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    return Network(library, path, name, kind, inputs)


def file_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with eight bytes"),
        (b"\0" * 7, "begins with eight bytes"),
        (struct.pack("<Q", 2**63) + b"{}", "expected a header of at most 2 bytes"),
        (struct.pack("<Q", 3) + b"{}", "header of at most 2 bytes, found one of 3"),
        (file_of(b""), "found its end"),
        (file_of(b"[]"), r"expected '\{'"),
        (file_of(b"{} x"), "nothing behind the header"),
        (file_of(b'{"a"'), "expected ':'"),
        (file_of(b'{"a\x01"'), "control characters"),
        (file_of(b'{"a\\'), "the end of a string"),
        (file_of(b'{"\\u12g4":1}'), "four hexadecimal digits"),
        (file_of(b'{"\\x":1}'), "an escape sequence"),
        (file_of({"a": {"dtype": "F32"}}), "found less"),
        (file_of({"a": TENSOR | {"more": 1}}, b"\0" * 8), "found more"),
        (file_of({"a": TENSOR}, b"\0" * 7), "expected 8 bytes of a within the 7 bytes"),
        (file_of({"a": TENSOR | {"data_offsets": [8, 0]}}, b"\0" * 8), "found bytes 8 to 0"),
        (file_of({"a": TENSOR | {"data_offsets": [0]}}), "two data_offsets"),
        (file_of({"a": TENSOR | {"shape": [3]}}, b"\0" * 8), "expected 12 bytes of a"),
        (file_of({"a": TENSOR | {"shape": [-1]}}), "whole number"),
        (file_of({"a": TENSOR | {"shape": [1.5]}}), r"found '\.'"),
        (file_of({"a": TENSOR | {"shape": [2**62, 8]}}), "a shape whose size is a number"),
        (file_of({"a": TENSOR | {"shape": [10**30]}}), "a smaller number"),
        (file_of(b'{"a":' + json.dumps(TENSOR).encode() + b',"a":{}}', b"\0" * 8), "found less"),
    ],
)
def test_no_safetensors(library, content, message, tmp_path):
    with pytest.raises(Refused, match=message) as refused:
        load(library, content, tmp_path)
    assert refused.value.status == FORMAT


def test_an_unknown_dtype(library, tmp_path):
    with pytest.raises(Refused, match="known dtype, found C64") as refused:
        load(library, file_of({"a": TENSOR | {"dtype": "C64"}}, b"\0" * 8), tmp_path)
    assert refused.value.status == UNSUPPORTED


@pytest.mark.parametrize("path", ["/nonexistent/x", "/"])
def test_no_file(library, path):
    with pytest.raises(Refused, match="expected") as refused:
        Opened(library, path)
    assert refused.value.status in (FILE, FORMAT)


def changed(**entries):
    """The state of a network with other entries; None removes one."""
    state = network().state_dict()
    for name, change in entries.items():
        key = name.replace("__", ".")
        state[key] = change(state[key])
    return {name: each.contiguous() for name, each in state.items() if each is not None}


@pytest.mark.parametrize(
    ("state", "status", "message"),
    [
        (changed(weight_hh_l0__col_indices=lambda t: t + 8), FORMAT, r"in \[0, 8\)"),
        (changed(weight_hh_l0__col_indices=lambda t: -t), FORMAT, "expected col_indices"),
        (changed(weight_hh_l0__col_indices=lambda t: t.flip(0)), FORMAT, "increasing|sorted"),
        (changed(weight_hh_l0__col_indices=lambda t: t.long()), UNSUPPORTED, "I32, found I64"),
        (changed(weight_hh_l0__col_indices=lambda t: t[1:]), FORMAT, "as many values as links"),
        (changed(weight_hh_l0__crow_indices=lambda t: t + 1), FORMAT, "crow_indices"),
        (changed(weight_hh_l0__crow_indices=lambda t: t.flip(0)), FORMAT, "crow_indices"),
        (changed(weight_hh_l0__crow_indices=lambda t: t[:-1]), FORMAT, "multiple of 4 rows"),
        (changed(weight_hh_l0__crow_indices=lambda t: t[:0]), FORMAT, "found -1"),
        (changed(weight_hh_l0__values=lambda t: t.double()), UNSUPPORTED, "F32, found F64"),
        (changed(weight_hh_l0__values=lambda t: None), MISSING, "weight_hh_l0.values"),
        (changed(weight_ih_l0=lambda t: t[:4]), FORMAT, "of 32 rows, found 4"),
        (changed(weight_ih_l0=lambda t: t[:, :3]), ARGUMENT, "of 5 columns, found 3"),
        (changed(weight_ih_l0=lambda t: t.flatten()), FORMAT, "of 2 dimensions"),
        (changed(bias_ih_l0=lambda t: t[:3]), FORMAT, r"shape \[32\], found \[3\]"),
        (changed(bias_ih_l0=lambda t: None), MISSING, "both biases"),
    ],
)
def test_no_network(library, state, status, message, tmp_path):
    with pytest.raises(Refused, match=message) as refused:
        load(library, save(state), tmp_path)
    assert refused.value.status == status


@pytest.mark.parametrize(
    "model",
    [
        network(bidirectional=True),
        network(proj_size=4),
        network(layer_norm=True),
        SparseRNN(5, 8, 2, density=0.4, bidirectional=True),
    ],
)
def test_options_that_it_lacks(library, model, tmp_path):
    kind = "lstm" if isinstance(model, SparseLSTM) else "tanh"
    for name in ("", "rnn"):
        state = {f"{name}.{key}" if name else key: t for key, t in model.state_dict().items()}
        with pytest.raises(Refused) as refused:
            load(library, save(state), tmp_path, name, kind)
        assert refused.value.status in (UNSUPPORTED, FORMAT), str(refused.value)


def test_another_kind(library, tmp_path):
    state = SparseGRU(5, 8, density=0.4).state_dict()
    with pytest.raises(Refused, match=r"col_indices in \[0, 6\)"):
        load(library, save(state), tmp_path, "", "lstm")
    for kind in (4, 9, -1):  # the rows of a GRU could be those of a tanh network
        with pytest.raises(
            Refused, match=rf"expected a kind .* in \[0, 3\], found {kind}"
        ) as refused:
            load(library, save(state), tmp_path, "", kind)
        assert refused.value.status == ARGUMENT


@pytest.mark.parametrize("dtype", [torch.int8, torch.bfloat16])
def test_quantized_weights(library, dtype, tmp_path):
    for kind, of in (("lstm", SparseLSTM), ("linear", SparseLinear)):
        state = quantize(of(64, 64, density=0.3), dtype=dtype).model.state_dict()
        with pytest.raises(Refused, match=r"weight\w*, which is quantized") as refused:
            load(library, save(state), tmp_path, "", kind, 0)
        assert refused.value.status == UNSUPPORTED


def test_a_few_bytes_make_no_large_network(library, tmp_path):
    """A matrix without columns has no data that bound the number of its rows."""
    content = file_of({"weight": {"dtype": "F32", "shape": [2**29, 0], "data_offsets": [0, 0]}})
    with pytest.raises(Refused, match="at least one row and column, found 536870912 and 0"):
        load(library, content, tmp_path, "", "linear", 0)


def test_a_sparse_weight_does_not_tell_its_columns(library, tmp_path):
    state = SparseLinear(9, 4, density=0.5).state_dict()
    with pytest.raises(Refused, match="does not tell") as refused:
        load(library, save(state), tmp_path, "", "linear", 0)
    assert refused.value.status == ARGUMENT


def test_arguments(library, tmp_path):
    save_file(network().state_dict(), tmp_path / "x.safetensors")
    found = Network(library, tmp_path / "x.safetensors", "", "lstm", 5)
    x, y, h = torch.randn(2, 1, 5), torch.empty(2, 1, 8), torch.zeros(1, 1, 8)
    pointers = x.data_ptr(), y.data_ptr(), h.data_ptr()
    for arguments in [
        (None, pointers[0], 2, 1, None, None, pointers[1]),
        (found.pointer, None, 2, 1, None, None, pointers[1]),
        (found.pointer, pointers[0], 2, 1, None, None, None),
        (found.pointer, pointers[0], 0, 1, None, None, pointers[1]),
        (found.pointer, pointers[0], 2, -1, None, None, pointers[1]),
        (found.pointer, pointers[0], 2**40, 2**40, None, None, pointers[1]),
        (found.pointer, pointers[0], 2, 1, pointers[2], None, pointers[1]),
        (found.pointer, pointers[0], 2, 1, None, pointers[2], pointers[1]),
    ]:
        with pytest.raises(Refused, match="expected") as refused:
            checked(library, library.se_recurrent_forward(*arguments))
        assert refused.value.status == ARGUMENT
    assert library.se_set_threads(0) == ARGUMENT
    library.se_close(None), library.se_recurrent_free(None), library.se_linear_free(None)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files(library, seed, tmp_path):
    """Bytes of a good file are changed, removed or added; what still loads also runs."""
    content, rng, ran = save(network(num_layers=2).state_dict()), np.random.default_rng(seed), 0
    end = 8 + struct.unpack("<Q", content[:8])[0]
    for at in rng.choice([8, end, len(content)], 300):
        damaged = with_bytes_changed(content[:at], rng) + content[at:]
        try:
            found = load(library, damaged, tmp_path)
        except Refused as refused:
            assert str(refused)
        else:
            found(torch.randn(2, 2, 5))
            ran += 1
    assert ran < 300
