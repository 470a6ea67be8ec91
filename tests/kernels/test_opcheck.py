"""Schema, shapes and autograd of every native operation, as torch's own checker sees them."""

import pytest
import torch
from exhaustive.fuzz import recorded
from testing import copied, is_real
from torch.library import opcheck

#: A compiler's own tests are those of fake tensors and of compiled networks.
CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")
PREFIX = "sparse_engine::"
NAMES = sorted(
    name.removeprefix(PREFIX)
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith(PREFIX)
)


@pytest.fixture(scope="module")
def calls():
    """Calls of each operation by its name, those with the fewest optional arguments first."""
    torch.manual_seed(0)
    found = {}
    for operation, arguments in recorded():
        found.setdefault(operation.name().split("::")[1].split(".")[0], []).append(
            (operation, arguments)
        )
    return {
        name: sorted(each, key=lambda call: sum(a is not None for a in call[1]))
        for name, each in found.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_operation(name, calls):
    """With the fewest and with the most arguments that it is called with."""
    for operation, arguments in (calls[name][0], calls[name][-1]):
        trains = any(
            torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), key)
            for key in ("Autograd", "AutogradCPU")
        )
        own = [
            each.requires_grad_(trains and argument.name != "mask") if is_real(each) else each
            for argument, each in zip(operation._schema.arguments, copied(arguments), strict=False)
        ]
        opcheck(operation, tuple(own), test_utils=CHECKS)
