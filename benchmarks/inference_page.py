"""Page of inference from the results of ``benchmarks.inference``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks._report import where

HEAD = """# Inference: from which density on a sparse network is faster

How many times faster a sparse layer is than torch's dense layer of the same function, in float32
and without gradients. One layer has as many inputs as units, both weights have the density of the
column, and a sequence has {steps} steps; B is the batch. In brackets: against the dense layer
with weights quantized to int8 by torch, which is no longer the same function. "step" is a step of
a stream, `network.step(x, state)` against torch's cell. Below 1 the dense one is faster.
"""
FOOT = """Measured on {date}, {where}:
`python -m benchmarks.inference --threads {threads} --json benchmarks/results/inference.json`.
"""
CONCLUSIONS = """## Conclusions

- A link that is stored costs more than an entry of a dense matrix. With a batch of 1 its index is
  half of the memory traffic, and a dense product reads whole vectors.
- Cases in which the sparse layer is at least 5 % faster: {gains}.
- A call has a fixed cost: some 10 microseconds for a linear layer, and 13 for `step()` of an RNN,
  LSTM, GRU or MGU without gradients, as much as for a step of a cell of torch.
- A link takes 8 bytes: at 10 % a fifth of a dense float32 matrix; below 12.5 % less than int8.
- A dense model that may be rounded to int8 is the faster one in most cases here. Sparse float32 is
  at least 5 % faster than it in {against_int8}.
"""
#: A case gains where the dense layer takes so many times as long.
GAIN = 1.05


def inference_page(record: Mapping, folder: Path) -> None:
    """Write inference.md into a folder.

    Args:
        record: the JSON of ``benchmarks.inference``.
        folder: folder of the page.
    """
    rows = record["rows"]
    names = list(dict.fromkeys(row["network"] for row in rows))
    sections = [_section(name, [row for row in rows if row["network"] == name]) for name in names]
    machine = record["machine"]
    foot = FOOT.format(where=where(machine), **machine)
    densities = sorted({row["density"] for row in rows}, reverse=True)
    gains = "; ".join(
        f"at {density:.0%} {_gaining(rows, density, 'x dense')} sequences and calls of layers, and "
        f"{_gaining(rows, density, 'x cell')} steps"
        for density in densities
    )
    against_int8 = ", ".join(
        f"{_gaining(rows, density, 'x int8')} cases at {density:.0%}" for density in densities
    )
    conclusions = CONCLUSIONS.format(gains=gains, against_int8=against_int8)
    page = [HEAD.format(steps=record["steps"]), *sections, conclusions, foot]
    (folder / "inference.md").write_text("\n".join(page))


def _gaining(rows: Sequence[Mapping], density: float, column: str) -> str:
    found = [row[column] for row in rows if row["density"] == density and row.get(column)]
    return f"{sum(each >= GAIN for each in found)} of {len(found)}"


def _section(name: str, rows: Sequence[Mapping]) -> str:
    densities = sorted({row["density"] for row in rows}, reverse=True)
    steps = [f"step, {density:.0%}" for density in densities if "x cell" in rows[0]]
    head = ["units", "B", *(f"{density:.0%}" for density in densities), *steps]
    lines = [head, ["---"] * len(head)]
    for units, batch in dict.fromkeys((row["units"], row["B"]) for row in rows):
        case = {row["density"]: row for row in rows if (row["units"], row["B"]) == (units, batch)}
        cells = [_ratios(case[density]) for density in densities]
        cells += [f"{case[density]['x cell']:.1f}" for density in densities[: len(steps)]]
        lines.append([str(units), str(batch), *cells])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {name}\n\n{table}\n"


def _ratios(row: Mapping) -> str:
    int8 = f" ({row['x int8']:.1f})" if row.get("x int8") else ""
    return f"{row['x dense']:.1f}{int8}"
