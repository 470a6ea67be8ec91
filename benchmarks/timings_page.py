"""Page of timings, docs/benchmarks.md, and the table of README.md, from benchmarks/results."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from matplotlib.figure import Figure

from benchmarks._report import where
from benchmarks.blocks import table as groups_table
from benchmarks.table import markdown, rows_of

HEAD = """# Benchmarks

How long sparse_engine takes, compared with what people use today. Ratios are formed within one run,
in which all contestants take turns; "x masked" is how many times as long the masked dense network
takes. `target` is the goal of the project. Each table names its machine and its date;
[benchmarks/README.md](../benchmarks/README.md) says how everything is measured and how to repeat it
(`make bench`). `python -m benchmarks.pages` makes this page of `benchmarks/results/`.
"""
FOOT = """## Where dense networks win, and what to know

- A network of 64 units gains nothing, because a step is then mostly overhead. A single layer of
  1024 x 1024 with a batch of 32 is four times as fast at 10 %, but slower from a density of about
  35 % on.
- Inference with a batch of 1 gains less than training: [inference.md](inference.md) says from
  which density on it pays.
- Sparse products at random positions are limited by the second-level cache, from which every
  multiply-add loads a vector; therefore a few targets at 10 % are missed on this processor
  ([csrc/README.md](../csrc/README.md)).
- On some machines, communication between two cores is up to four times slower for seconds or
  minutes. This slows the sparse kernels, not nn.LSTM: an RNN of 1024 units at 1 % then takes
  10.7 ms instead of 5.4. Six rows of RNN, ON-LSTM and CT-RNN fell into such minutes. They were
  removed and measured again; the second table of each section has them.
- Each table is of another run: an LSTM of 1024 units at 5 % took 54.6 ms in the run with bfloat16
  and 35.1 ms in its own. Compare times within a table only.
- GPU kernels have been tested in simulation only, so this page has no times of a GPU.
"""


class Table(NamedTuple):
    """Table of the page.

    Attributes:
        title: heading of the table.
        text: paragraph above the table.
        result: name of the file in benchmarks/results.
        columns: columns that are shown; all by default.
        again: name of a file with cases that were measured again, on another day or machine.
    """

    title: str
    text: str
    result: str
    columns: tuple[str, ...] = ()
    again: str = ""

    def markdown(self, results: Path) -> str:
        """Return the heading, the text and the rows of each file."""
        files = [_read(results, name) for name in (self.result, self.again) if name]
        tables = [markdown(record, [*self.columns]) for record in files]
        return "\n\n".join([f"## {self.title}", self.text, *tables]) + "\n"


STEP = "One training step, forward and backward pass, of {} against the masked dense loop"
RECURRENT = ("hidden", "density", "T", "B", "ms", "masked ms", "x masked")
BFLOAT16 = "Activations in bfloat16 under autocast against the same network in float32."
TABLES = (
    Table(
        "RNN",
        STEP.format("`SparseRNN`")
        + " `h = tanh(x W_ih^T + b + h (W * M)^T)`, `nn.RNN`, which is dense, and a loop over "
        "`torch.sparse`. There are 64 inputs, in the last row 1.",
        "train_step",
        (*RECURRENT[:6], "nn.RNN ms", "torch CSR ms", "x masked", "x nn.RNN", "target"),
        "train_step_again",
    ),
    Table(
        "LSTM",
        STEP.format("`SparseLSTM`") + " and nn.LSTM. The last row has the shape of Selfish-RNN: "
        "1500 inputs, both weights sparse.",
        "lstm",
    ),
    Table("GRU", STEP.format("`SparseGRU`") + " and nn.GRU.", "gru"),
    Table("MGU", STEP.format("`SparseMGU`") + ".", "mgu", RECURRENT),
    Table("RHN", STEP.format("`SparseRHN`") + ", of depth 10.", "rhn", RECURRENT),
    Table("ON-LSTM", STEP.format("`SparseONLSTM`") + ".", "on_lstm", RECURRENT, "on_lstm_again"),
    Table(
        "CT-RNN",
        STEP.format("`SparseCTRNN`") + ", 6 Euler steps per input.",
        "ctrnn",
        (*RECURRENT, "target"),
        "ctrnn_again",
    ),
    Table("Firing rates", STEP.format("`SparseRateRNN`") + ".", "rate_rnn", RECURRENT),
    Table("Neural ODE", STEP.format("`SparseNeuralODE`") + ", 6 steps of RK4.", "neural_ode"),
    Table(
        "Liquid time-constant networks",
        "One training step of `SparseLTC`, 6 unfolds, against dense synapses.",
        "ltc",
    ),
    Table("Spikes", STEP.format("`SparseLIF`") + ".", "lif"),
    Table(
        "Learning online",
        "One step with its gradient, of tanh networks with one input. Dense: exact influence of a "
        "masked network as a dense tensor in torch, on the same machine.",
        "online",
    ),
    Table("bfloat16, RNN", BFLOAT16, "bfloat16"),
    Table("bfloat16, LSTM", BFLOAT16, "bfloat16_lstm"),
    Table("bfloat16, GRU", BFLOAT16, "bfloat16_gru"),
    Table("bfloat16, RHN", BFLOAT16, "bfloat16_rhn"),
    Table("bfloat16, ON-LSTM", BFLOAT16, "bfloat16_on_lstm"),
    Table("bfloat16, CT-RNN", BFLOAT16, "bfloat16_ctrnn"),
    Table(
        "Linear layers",
        "Forward and backward pass of `SparseLinear` against nn.Linear, torch.sparse CSR, and the "
        "sparse CPU libraries sparseprop 0.1.14 and sparselab 0.2.2.",
        "linear",
    ),
    Table(
        "SET-MLP",
        "One epoch of a multilayer perceptron with rewiring.",
        "set_mlp",
        ("neurons", "links", "epoch s", "peak GB", "published min", "x published"),
    ),
    Table(
        "Rewiring",
        "Prune, grow, merge, the optimizer's state and the transposed view.",
        "rewire",
        ("method", "n", "links", "quantity", "measured", "unit", "target"),
    ),
    Table("Analysis", "Triads, null models, distances and annealing.", "analysis"),
    Table("Single operations", "Products and recurrences.", "kernels"),
)


class Headline(NamedTuple):
    """Row of the README's table.

    Attributes:
        what: what is trained.
        result: name of the file in benchmarks/results.
        case: columns that pick the row of the file.
        peer: name of the dense network.
        column: name of the dense network in the file.
    """

    what: str
    result: str
    case: Mapping[str, object]
    peer: str
    column: str


HEADLINES = (
    Headline("`SparseRNN`, 4096 units, 5 %", "train_step", {"hidden": 4096, "density": 0.05},
             "nn.RNN", "nn.RNN"),
    Headline("`SparseLSTM`, 1024 units, 5 %", "lstm", {"hidden": 1024, "density": 0.05},
             "nn.LSTM", "nn.LSTM"),
    Headline("`SparseGRU`, 1024 units, 5 %", "gru", {"hidden": 1024, "density": 0.05},
             "nn.GRU", "nn.GRU"),
    Headline("`SparseLinear`, 768 to 3072, 10 %", "linear",
             {"in": 768, "B": 128, "density": 0.1}, "nn.Linear", "nn.Linear"),
)  # fmt: skip

#: Units of the networks in the picture of the README, and its lines: columns of lstm.json.
UNITS = 1024
LINES = {
    "masked ms": "LSTM with a mask",
    "nn.LSTM ms": "nn.LSTM",
    "ms": "SparseLSTM",
}


def draw_step_times(results: Path, folder: Path) -> None:
    """Draw step_time.png into a folder: the LSTM's training step against density."""
    record = _read(results, "lstm")
    rows = sorted(
        (row for row in rows_of(record) if row["hidden"] == UNITS), key=lambda row: row["density"]
    )
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    for column, name in LINES.items():
        axes.plot(
            [100 * row["density"] for row in rows], [row[column] for row in rows], "o-", label=name
        )
    axes.set(
        xlabel="density of the recurrent weights, %",
        ylabel="one training step, ms",
        xscale="log",
        yscale="log",
        title=f"{UNITS:,} units, 50 steps, batch of 32, {record['machine']['threads']} threads",
    )
    densities = [100 * row["density"] for row in rows]
    axes.set_xticks(densities, [f"{density:g}" for density in densities], minor=False)
    axes.set_yticks([10, 20, 50, 100, 200, 500], ["10", "20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / "step_time.png", dpi=150)


#: Operations in the picture of limits, and their markers.
MARKERS = {"spmm": "o", "sddmm": "s", "rnn": "^"}


def draw_limits(results: Path, folder: Path) -> None:
    """Draw limits.png into a folder: speeds of operations below what loads of X allow.

    A link of a row times 32 columns loads 128 bytes of X for 64 flops.
    """
    record = _read(results, "kernels")
    rows = [row for row in rows_of(record) if row["B"] == 32]
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    for level, speed in record["load_gigabytes_per_second"].items():
        axes.axhline(speed / 2, color="gray", lw=0.8, ls="--")
        place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
        axes.annotate(f"loads from {level}", (0.99, speed / 2), fontsize=8, **place)
    for operation, marker in MARKERS.items():
        own = [row for row in rows if row["operation"] == operation]
        axes.plot(
            [row["density"] * row["n"] for row in own],
            [row["GFLOP/s"] for row in own],
            marker,
            label=operation,
        )
    axes.set(
        xlabel="links per unit",
        ylabel="GFLOP/s",
        xscale="log",
        title=f"batch of 32, {record['machine']['threads']} threads",
    )
    axes.set_xticks([10, 30, 100, 300], ["10", "30", "100", "300"])
    axes.minorticks_off()
    axes.legend(loc="center right")
    figure.savefig(folder / "limits.png", dpi=150)


def draw_online(results: Path, folder: Path) -> None:
    """Draw online.png into a folder: error of learners' gradients, and memory, against units."""
    errors = _read(results, "online")["errors"]
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    of_error, of_memory = figure.subplots(1, 2)
    for name in dict.fromkeys(each["learner"] for each in errors):
        own = [each for each in errors if each["learner"] == name]
        units = sorted({each["units"] for each in own})

        def mean(key: str, own: list = own, units: list = units) -> list[float]:
            return [fmean(each[key] for each in own if each["units"] == n) for n in units]

        of_memory.plot(units, [each / 1e6 for each in mean("bytes")], "o-", ms=4, label=name)
        of_error.plot(units, mean("error"), "o-", ms=4)
    of_error.set(ylabel="relative error of the gradient", ylim=(-0.03, 1))
    of_memory.set(ylabel="influence of one lane, MB", yscale="log")
    for axes in (of_error, of_memory):
        axes.set(xlabel="units, with ten links each", xscale="log")
        axes.set_xticks(units, [str(n) for n in units])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    of_memory.legend(fontsize=8)
    figure.savefig(folder / "online.png", dpi=150)


def timings_page(results: Path, folder: Path) -> None:
    """Write benchmarks.md and its pictures into a folder.

    Args:
        results: folder of the JSON files of the benchmarks.
        folder: folder of the page.
    """
    sections = [table.markdown(results) for table in TABLES]
    draw_step_times(results, folder)
    draw_limits(results, folder)
    draw_online(results, folder)
    (folder / "benchmarks.md").write_text(
        "\n".join([HEAD, *sections, _groups(results), _largest(results), FOOT])
    )


def with_headlines(readme: str, results: Path) -> str:
    """Return the text of the README with its table made anew.

    Args:
        readme: text with the table between two comments, ``<!-- timings -->`` and
            ``<!-- end -->``.
        results: folder of the JSON files of the benchmarks.
    """
    lines = ["| one training step | times as fast | sparse_engine | dense |", "|---|---|---|---|"]
    for headline in HEADLINES:
        record = _read(results, headline.result)
        (row,) = (
            each
            for each in rows_of(record)
            if all(each[name] == value for name, value in headline.case.items())
        )
        ours, theirs = row["ms"], row[f"{headline.column} ms"]
        lines.append(
            f"| {headline.what} | **{theirs / ours:.1f}** | {ours:.3g} ms | "
            f"{theirs:.0f} ms, {headline.peer} |"
        )
    table = "\n".join(lines)
    return re.sub(
        r"(?<=<!-- timings -->\n).*?(?=\n<!-- end -->)", lambda _: table, readme, flags=re.DOTALL
    )


def _groups(results: Path) -> str:
    record = _read(results, "blocks")
    return (
        "## What groups of links cost a model\n\n"
        "SET over groups of links that live and die together, against free links, with as many "
        "links and the same settings (`python -m benchmarks.blocks`): blocks of rows x columns, "
        "and gates of an LSTM that share their links. No kernel makes use of groups yet.\n\n"
        f"{groups_table(record['rows'])}\n\n{where(record['machine'])}.\n"
    )


def _largest(results: Path) -> str:
    record = _read(results, "hundred_thousand_neurons")
    measured, machine = record["measured"], record["machine"]
    return (
        "## One network of 100,000 neurons\n\n"
        f"With {measured['links']:,} trained links (`examples/hundred_thousand_neurons.py`, T = 20,"
        f" B = 16), a training step with Adam takes {measured['seconds per step']:.2f} s, a SET "
        f"rewiring {measured['seconds per rewiring']:.2f} s, and the process "
        f"{measured['peak GB']:.1f} GB at the most. The dense matrix alone would take 40 GB.\n\n"
        f"{where(machine)}.\n"
    )


def _read(results: Path, name: str) -> dict:
    return json.loads((results / f"{name}.json").read_text())
