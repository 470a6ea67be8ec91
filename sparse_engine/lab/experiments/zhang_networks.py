"""Published networks of Zhang et al. with planted loops, from the files of their repository."""

from __future__ import annotations

import json
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparse_engine.models import SequenceModel
from sparse_engine.nn import SparseRNN, SparseWeight

UNITS, HORIZON, WINDOW = 128, 50, 500
#: Tensors of a file in their order, each followed by its two moments.
SHAPES = ((HORIZON,), (UNITS, HORIZON), (1, UNITS), (UNITS,), (UNITS, UNITS))
#: Values of the series before the published validation split.
TRAINING = 40_000


def published_networks() -> list[SequenceModel]:
    """Return the networks in the folder lesion of ``SPARSE_ENGINE_DATA``; none where it is absent.

    Raises:
        ValueError: a file of another size, or without a wiring.
    """
    folder = _data() / "lesion"
    if not folder.is_dir():
        return []
    return [read_network(each) for each in sorted(folder.iterdir()) if each.is_dir()]


def read_network(folder: Path) -> SequenceModel:
    """Read a network that forecasts the Mackey-Glass series, and its wiring in hp.json.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file of another size, or without a wiring.
    """
    options = json.loads((folder / "hp.json").read_text())
    numbers = np.fromfile(folder / "model.ckpt.data-00000-of-00001", "<f4")
    sizes = [math.prod(shape) for shape in SHAPES]
    expected = 2 + 3 * sum(sizes)  # two powers of Adam's decay rates come first
    if len(numbers) != expected:
        raise ValueError(f"expected {expected} numbers in {folder}, found {len(numbers)}")
    starts = np.cumsum([2, *(3 * size for size in sizes[:-1])])
    bias, readout, inputs, recurrent_bias, recurrent = (
        torch.from_numpy(numbers[start : start + size].reshape(shape).copy())
        for start, size, shape in zip(starts, sizes, SHAPES, strict=True)
    )
    mask = torch.tensor(options.get("w_rec_mask", ())).bool()
    if mask.shape != recurrent.shape:
        raise ValueError(
            f"expected w_rec_mask of shape {[*recurrent.shape]} in {folder / 'hp.json'}, found "
            f"{[*mask.shape]}"
        )
    rnn: Any = SparseRNN(1, UNITS, density=0.05)
    model = SequenceModel(rnn, HORIZON)
    # Their rows are sources, and ours targets.
    rnn.weight_hh_l0 = SparseWeight.from_dense(recurrent.T, mask.T)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(inputs.T)
        rnn.bias_ih_l0.copy_(recurrent_bias)
        rnn.bias_hh_l0.zero_()
        model.readout.weight.copy_(readout.T)
        model.readout.bias.copy_(bias)
    return model.eval()


@torch.no_grad()
def forecast_error(model: nn.Module) -> float:
    """Return the mean squared error on the 19 validation windows of the published series."""
    x, y = _windows()
    return nn.functional.mse_loss(model(x), y).item()


@cache
def _windows() -> tuple[Tensor, Tensor]:
    path = _data() / "mackey_glass" / "MackeyGlass_t17.txt"
    series = torch.from_numpy(np.loadtxt(path, dtype=np.float32))[TRAINING:]
    windows = series.unfold(0, WINDOW + HORIZON, WINDOW)
    return windows[:, :WINDOW].T.unsqueeze(2), windows[:, WINDOW:]


def _data() -> Path:
    return Path(os.environ.get("SPARSE_ENGINE_DATA", "."))
