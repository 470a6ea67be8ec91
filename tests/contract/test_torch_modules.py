"""What torch's own tests find wrong of RNN, LSTM and GRU, and what is refused here by design."""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from sparse_engine.nn import CELLS

DENSE = {entry.dense: name for name, entry in CELLS.items() if entry.dense}
EVERY = pytest.mark.parametrize("dense", DENSE)


@EVERY
@pytest.mark.parametrize("step", [False, True])
def test_mistakes_are_found_as_torch_finds_them(dense, step):
    """Those of torch.testing's database of modules, of whole sequences and of single steps."""
    from torch.testing._internal.common_modules import module_db  # which takes seconds

    name = dense.__name__ + ("Cell" if step else "")
    (info,) = (each for each in module_db if each.module_cls.__name__ == name)
    kind = CELLS[DENSE[dense]]
    mistakes = info.module_error_inputs_func(
        info, "cpu", torch.float32, requires_grad=False, training=True
    )
    for wrong in mistakes:
        constructor = wrong.module_error_input.constructor_input
        forward = wrong.module_error_input.forward_input
        with pytest.raises(wrong.error_type, match=r"expected .* found"):
            if step:  # what a cell takes beside its sizes makes no difference to its mistakes
                x, *states = tree_leaves([*forward.args])
                hx = [state[None] for state in states]
                kind(*constructor.args[:2], density=1.0).step(x, hx if len(hx) > 1 else hx[0])
            else:
                network = kind(*constructor.args, **constructor.kwargs, density=1.0)
                network(*forward.args, **forward.kwargs)
    assert mistakes


def differentiated_twice(network, x):
    y, _ = network(x.requires_grad_())
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    first.sum().backward()


#: What torch's tests ask of these modules and a sparse network refuses by design.
REFUSED = {
    # A sequence is one operation, which can be differentiated once.
    "second derivative": (differentiated_twice, RuntimeError, "differentiated once"),
    # There are kernels for float32 and float64, and under autocast for bfloat16.
    "float16": (
        lambda network, x: network.half()(x.half()),
        ValueError,
        r"expected values of dtype .* found float16",
    ),
}


@EVERY
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_by_design(dense, what):
    run, error, message = REFUSED[what]
    with pytest.raises(error, match=message):
        run(CELLS[DENSE[dense]](2, 3, density=1.0), torch.randn(4, 3, 2))
