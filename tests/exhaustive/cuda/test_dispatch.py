"""Errors of a build without CUDA for CUDA tensors."""

import ctypes
import math

import pytest
import torch
from testing import random_pattern

from sparse_engine.ops._dispatch.native import built_with_cuda, native

ON_CUDA = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
PATTERN = random_pattern(6, 6, 12)


def arguments():
    """Arguments of each operation by name; the dispatcher takes them for CUDA tensors."""
    values, x = torch.randn(12), torch.randn(6, 3)
    sequence = torch.randn(2, 3, 6)
    return {
        "spmm": (values, PATTERN, x, None),
        "spmm_t": (values, PATTERN, x),
        "sddmm": (PATTERN, x, x),
        "rnn_forward": (sequence, None, None, None, values, PATTERN, None, 0),
    }


@pytest.mark.skipif(built_with_cuda(), reason="built with CUDA")
@pytest.mark.parametrize("name", arguments())
def test_a_build_without_cuda_says_so(name):
    operation = getattr(native, name).default
    with pytest.raises(RuntimeError, match="sparse_engine was built without CUDA"):
        operation.redispatch(ON_CUDA, *arguments()[name])


WITHOUT = ["ch3_l3", "ch2_l3n"]


def test_every_operation_is_known_on_cuda():
    """Either way: it runs there, or says that it cannot."""
    names = [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("sparse_engine::")]
    assert all(torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA") for name in names)


def test_a_tensor_on_another_device_is_named(simulated):
    """Mixed devices: the pattern is on the GPU and x is not."""
    meta = torch.empty(6, 3, device="meta")
    with pytest.raises(ValueError, match="expected x on a CUDA device, found a tensor on another"):
        simulated.spmm.default.redispatch(
            torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), torch.randn(12), PATTERN, meta, None
        )


def test_a_tensor_on_another_gpu_is_named(simulated, simulated_library):
    values, x = torch.randn(12), torch.randn(6, 3)
    other = ctypes.c_void_p.in_dll(ctypes.CDLL(str(simulated_library)), "on_second_device")
    other.value = x.data_ptr()
    try:
        with pytest.raises(ValueError, match="expected x on CUDA device 0, found it on 1"):
            simulated.spmm(values, PATTERN, x, None)
    finally:
        other.value = None
    simulated.spmm(values, PATTERN, x, None)


def test_shapes_are_checked_before_a_launch(simulated):
    with pytest.raises(ValueError, match=r"expected values of shape \[12\], found \[11\]"):
        simulated.spmm(torch.randn(11), PATTERN, torch.randn(6, 3), None)
    with pytest.raises(ValueError, match=r"expected plan of shape \[2, 1\], found \[2, 3\]"):
        wrong = PATTERN._replace(plan=torch.zeros(2, 3, dtype=torch.int32))
        simulated.spmm(torch.randn(12), wrong, torch.randn(6, 3), None)
    with pytest.raises(ValueError, match="expected x of dtype float32, found float64"):
        simulated.spmm(torch.randn(12), PATTERN, torch.randn(6, 3).double(), None)
    with pytest.raises(ValueError, match="expected a recurrent weight of 3 gates"):
        simulated.gru_forward(
            *(torch.randn(2, 3, 18), *(None,) * 5),
            *(torch.randn(12), PATTERN, None, None, None, False),
        )


def test_dtypes_that_no_kernel_has_are_named(simulated):
    """Before a launch."""
    values, x = torch.randn(12), torch.randn(6, 3)
    with pytest.raises(ValueError, match="expected x of dtype float64, found bfloat16"):
        simulated.spmm(values.double(), PATTERN, x.bfloat16(), None)
    with pytest.raises(ValueError, match="expected x of dtype float32, found float16"):
        simulated.spmm(values, PATTERN, x.half(), None)
    with pytest.raises(ValueError, match="expected b of dtype bfloat16, found float32"):
        simulated.sddmm(PATTERN, x.bfloat16(), x)
    with pytest.raises(ValueError, match="float32 on a CUDA device, found bfloat16"):
        simulated.gru_forward(
            *(torch.randn(2, 3, 18).bfloat16(), *(None,) * 5),
            *(values, PATTERN, None, None, None, False),
        )
    levels, gates = random_pattern(12, 6, 12), random_pattern(26, 6, 12)
    with pytest.raises(ValueError, match="float32 on a CUDA device, found bfloat16"):
        x = torch.randn(2, 1, 3, 12).bfloat16()
        simulated.rhn_forward(x, None, None, None, values, [*levels], False)
    with pytest.raises(ValueError, match="float32 on a CUDA device, found bfloat16"):
        x = torch.randn(2, 3, 26).bfloat16()
        simulated.on_lstm_forward(x, None, None, None, values, gates, False)


def test_networks_in_continuous_time_are_float32(simulated):
    x, dt, values = torch.randn(2, 3, 6).bfloat16(), torch.ones(2, 3), torch.randn(9)
    pattern = random_pattern(6, 6, 9)
    with pytest.raises(ValueError, match="float32 on a CUDA device, found bfloat16"):
        simulated.ctrnn_forward(x, None, dt, None, values, pattern, [0.0], [1.0], 1, math.inf, 0)
    with pytest.raises(ValueError, match="float32 on a CUDA device, found bfloat16"):
        simulated.ltc_forward(x, x, None, torch.ones(6), *[values] * 4, pattern, 3)


def test_batch_sizes_are_checked_before_a_launch(simulated):
    values, packed = torch.randn(12), torch.randn(5, 6)
    for sizes, message in [
        ([2, 3], "batch_sizes of at least 1 that never grow, found 3 at position 1"),
        ([3, 1], "expected x of 4 rows, as batch_sizes add up to, found 5"),
    ]:
        with pytest.raises(ValueError, match=message):
            simulated.rnn_forward(packed, *(None,) * 3, values, PATTERN, torch.tensor(sizes), 0)
    elsewhere = torch.empty(2, dtype=torch.int64, device="meta")
    with pytest.raises(ValueError, match="expected batch_sizes on the CPU"):
        simulated.rnn_forward.default.redispatch(
            torch._C.DispatchKeySet(torch._C.DispatchKey.CPU),
            *(packed, None, None, None, values, PATTERN, elsewhere, 0),
        )


@pytest.mark.parametrize("name", WITHOUT)
def test_an_operation_without_a_kernel_says_so(name):
    operation = getattr(native, name).default
    of_kind = {"Tensor": torch.ones(1), "int": 0, "float": 0.0, "bool": False}
    arguments = [
        [] if isinstance(a.type, torch.ListType) else of_kind.get(str(a.type))
        for a in operation._schema.arguments
    ]
    with pytest.raises(ValueError, match=f"{name} has no CUDA kernel yet"):
        operation.redispatch(ON_CUDA, *arguments)
