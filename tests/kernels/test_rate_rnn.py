"""Rate networks: potentials far from zero, and arguments that do not fit."""

import pytest
import torch
from kernels.sequences import FORMS, cast, outcome
from testing import random_pattern
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.ops._dispatch.native import native


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "softplus", "sigmoid"])
def test_far_from_zero(nonlinearity, dtype):
    """Exponentials of either sign overflow."""
    arguments = FORMS["rate_rnn"].problem(random_pattern(33, 33, 200), 2, 5, dtype)
    arguments |= {"nonlinearity": nonlinearity, "h0": arguments["h0"] * 1000}
    found = outcome(ops.rate_rnn, arguments)
    for name, wanted in outcome(ops.rate_rnn.reference, cast(arguments)).items():
        size = wanted.abs().max()
        assert_close(found[name].double() / size, wanted / size, rtol=0, atol=1e-5)


def test_errors():
    arguments = FORMS["rate_rnn"].problem(random_pattern(9, 9, 25), 4, 3)
    with pytest.raises(ValueError, match=r"nonlinearity one of .*'tanh'.*, found 'elu'"):
        ops.rate_rnn(**arguments, nonlinearity="elu")
    tensors = [arguments[name] for name in ("x", "h0", "dt", "rate", "values")]
    with pytest.raises(ValueError, match=r"activation in \[0, 4\), found 4"):
        native.rate_rnn_forward(*tensors, [*arguments["pattern"]], [0.0], [1.0], 1, None, 4)
    with pytest.raises(ValueError, match=r"activation in \[0, 1\), found 1"):
        native.ctrnn_forward(*tensors, [*arguments["pattern"]], [0.0], [1.0], 1, None, 1)
