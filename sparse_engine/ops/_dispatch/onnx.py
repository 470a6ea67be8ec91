"""Refusal of exports to ONNX, with an error that says what to export instead."""

from __future__ import annotations

import torch


def refuse_onnx() -> None:
    """Raise RuntimeError where ``torch.onnx`` exports, whose operators know no sparse weights."""
    if torch.onnx.is_in_onnx_export():
        raise RuntimeError(
            "ONNX has no operators for sparse weights: export what to_dense() of each sparse layer "
            "or network returns, which computes the same with dense weights"
        )
