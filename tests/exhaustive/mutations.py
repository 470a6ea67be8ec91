"""Faults put into the package one at a time: each must be found by the tests named beside it.

    python tests/exhaustive/mutations.py            # all
    python tests/exhaustive/mutations.py training   # those of one part: training, rewiring, ...

The package stays as it is: faults go into a copy in a temporary folder. The script prints a table
and ends with 1 if a fault survived. One fault takes 5 to 20 seconds, one of the kernels about a
minute, most of it the compiler's.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Mutation(NamedTuple):
    """A text of a file, which occurs once, the text in its place, and the tests that fail then."""

    part: str
    file: str
    old: str
    new: str
    tests: str

    def path(self, root):
        folder = "csrc" if self.file.endswith((".h", ".cpp")) else "sparse_engine"
        return root / folder / self.file


LOOP = "lab/train/test_literal_loop.py"
RUN, OPTIMIZATION = "lab/train/run.py", "lab/train/optimization.py"
REWIRING = "topology/rewiring.py"

MUTATIONS = [
    Mutation(*entries)
    for entries in [
        ("training", OPTIMIZATION, "nn.utils.clip_grad_value_(", "(", LOOP),
        ("training", OPTIMIZATION, "nn.utils.clip_grad_norm_(", "(", LOOP),
        ("training", OPTIMIZATION, "0.5 * (1 + math.cos(math.pi * step / steps))", "1.0", LOOP),
        ("training", OPTIMIZATION, "if not self._by_metric:", "if False:", LOOP),
        ("training", OPTIMIZATION, "self._scheduler.step(metric)", "pass", LOOP),
        ("training", RUN, 'group["lr"] *= rate', "pass", LOOP),
        ("training", RUN, "            constrain()", "            pass", LOOP),
        ("training", RUN, "self.scores.since_best >= patience", "False", LOOP),
        ("training", RUN, '-entry["metric"] if self', 'entry["metric"] if self', LOOP),
        ("training", RUN, "        self.model.eval()", "        pass", LOOP),
        ("training", RUN, "        self.model.train()", "        pass", LOOP),
        ("training", RUN, "if self.scores.since_best == 0", "if True", LOOP),
        ("training", RUN, "optimizer.averaged() if", "nullcontext() if", LOOP),
        ("training", RUN, "        self.optimizer.zero_grad()", "        pass", LOOP),
        ("training", RUN, "hold=evaluation.averaging_begins", "hold=False", LOOP),
        ("training", RUN, "self.rewiring.skip()", "self.rewiring.step()", LOOP),
        ("training", RUN, "memory=self.memory,", "memory={},", "lab/train/test_language.py"),
        (
            "training",
            "lab/train/log.py",
            "self._sign = -1 if higher_is_better else 1",
            "self._sign = 1",
            LOOP,
        ),
        ("rewiring", REWIRING, " and not hold", "", "topology/test_rewiring.py"),
        (
            "rewiring",
            REWIRING,
            "self.steps, i) for i in chosen]",
            "self.steps, i) for i in range(len(chosen))]",
            "nn/test_frozen_pattern.py",
        ),
        (
            "rewiring",
            REWIRING,
            "weight.captured is None or left == self.grow.window",
            "weight.captured is None",
            "topology/grow/test_gradient.py",
        ),
        (
            "rewiring",
            REWIRING,
            "parameter.grad = _carried(gradient, rewired, nnz)",
            "parameter.grad = gradient",
            "topology/test_rewiring.py",
        ),
        (
            "rewiring",
            REWIRING,
            "state[name] = _carried(state[name], rewired, nnz)",
            "pass",
            "topology/test_rewiring.py",
        ),
        (
            "rewiring",
            REWIRING,
            "weight.captured[-1] = []",
            "pass",
            "callbacks/test_optimizer_hook.py",
        ),
        (
            "rewiring",
            "topology/grow.py",
            "len(steps) - 1 - s",
            "s",
            "topology/grow/test_gradient.py",
        ),
        (
            "rewiring",
            "callbacks/optimizer_hook.py",
            'if not getattr(optimizer, "found_inf", False):',
            "if True:",
            "callbacks/test_optimizer_hook.py",
        ),
        (
            "rewiring",
            "topology/redistribute.py",
            "limits if sum(limits) >= total else free",
            "free",
            "topology/test_redistribute.py",
        ),
        (
            "networks",
            "nn/weight.py",
            "self._permutation, self._plan = pattern[2:]",
            "self._permutation, _ = pattern[2:]",
            "nn/test_weight.py",
        ),
        (
            "networks",
            "nn/weight.py",
            "gain=self.first_gain, dtype",
            "gain=1.0, dtype",
            "contract/test_called_like_torch.py",
        ),
        (
            "networks",
            "nn/recurrent.py",
            "nn.functional.dropout(x, self.dropout, self.training)",
            "nn.functional.dropout(x, self.dropout)",
            "contract/test_training.py",
        ),
        (
            "networks",
            "nn/sequence.py",
            "torch.cat([torch.zeros_like(resets[:1]), resets[1:].flip(0)])",
            "resets.flip(0)",
            "contract/test_resets.py",
        ),
        ("networks", "optim/snt_asgd.py", "age.sub(1).clamp_", "age.clamp_", "optim"),
        (
            "readers",
            "lab/tasks/readers.py",
            "not data.startswith(wanted) or len",
            "len",
            "lab/tasks/test_mnist.py",
        ),
        ("readers", "lab/tasks/readers.py", "(y >= classes)", "(y > classes)", "lab/tasks"),
        ("readers", "lab/tasks/windows.py", "if not self.faithful:", "if False:", "lab/tasks"),
        (
            "readers",
            "convert/edge_list.py",
            "sources, targets = np.asc",
            "targets, sources = np.asc",
            "convert lab/test_cli_files.py",
        ),
        (
            "readers",
            "convert/edge_list.py",
            "if not np.isfinite(values).all():",
            "if False:",
            "convert lab/test_cli_files.py",
        ),
        ("readers", "convert/npz.py", "if unpacked > max(", "if 0 > max(", "convert"),
        ("readers", "convert/npz.py", "        if missing:", "        if missing > 0:", "convert"),
        (
            "kernels",
            "cpu/topology/select.cpp",
            "(wanted - 1), candidates.end());",
            "(wanted - 1), candidates.end(),\n"
            "                     [](auto& a, auto& b) { return a.first < b.first; });",
            "kernels/test_selection.py",
        ),
        (
            "kernels",
            "cpu/topology/sample.cpp",
            "draw % 2 == 0 || i == team.first(missing)",
            "draw % 2 == 0",
            "kernels/test_sampling.py",
        ),
        ("kernels", "cpu/topology/scan.cpp", "link || ", "", "kernels/test_scan.py"),
        (
            "kernels",
            "cpu/topology/check.cpp",
            "idx[p] > idx[p - 1]",
            "idx[p] >= idx[p - 1]",
            "kernels/test_pattern.py",
        ),
        (
            "kernels",
            "cpu/topology/carry.cpp",
            "std::fill(to + first, to + last, Word(0));",
            "",
            "kernels/test_topology.py",
        ),
        (
            "kernels",
            "cpu/sequences/rnn.cpp",
            "seq.columns(q, t + 1) == 0;",
            "false;",
            "kernels/test_sequences.py",
        ),
        (
            "kernels",
            "cpu/sequences/rnn.cpp",
            "part = 1; part < parts.count()",
            "part = 1; part < 1",
            "kernels/test_rnn.py",
        ),
        (
            "kernels",
            "cpu/products/spmm.cpp",
            "columns, q == 0}",
            "columns, true}",
            "kernels/test_products.py",
        ),
        (
            "kernels",
            "cpu/sequences/gated_backward.h",
            "seq.set_back(t, q, count, carried.row(q, first));",
            "",
            "kernels/test_sequences.py",
        ),
    ]
]


def copy_of_the_tree(folder):
    """What git knows, and what is built, with its times: only what changes is compiled."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    built = [path.relative_to(ROOT) for path in (ROOT / "sparse_engine").rglob("*.so")]
    objects = [each.relative_to(ROOT) for each in (ROOT / "build/objects").rglob("*")]
    for name in [*map(Path, listed.stdout.decode().split("\0")[:-1]), *built, *objects]:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def run(folder, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def build(folder):
    return run(folder, "setup.py", "--quiet", "build_ext", "--inplace")


def outcome(folder, mutation):
    """Whether the tests fail, and the first that does."""
    if mutation.part == "kernels":
        built = build(folder)
        if built.returncode:
            return "not compiled", built.stdout[-500:]
    tests = [f"tests/{name}" for name in mutation.tests.split()]
    done = run(folder, "-m", "pytest", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", *tests)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    word = {0: "survived", 1: "caught"}.get(done.returncode, f"pytest ended with {done.returncode}")
    return word, failed[0].partition(" - ")[0] if failed else done.stdout[-300:]


def main(parts):
    survived = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_of_the_tree(folder)
        chosen = [each for each in MUTATIONS if not parts or each.part in parts]
        if any(mutation.part == "kernels" for mutation in chosen):
            build(folder)  # what is older than its sources
        for mutation in chosen:
            began, path = time.monotonic(), mutation.path(folder)
            whole = path.read_text()
            path.write_text(whole.replace(mutation.old, mutation.new))
            word, found = outcome(folder, mutation)
            path.write_text(whole)  # compiled again with the next fault
            survived += word != "caught"
            seconds = time.monotonic() - began
            print(f"{word:9} {seconds:4.0f} s  {mutation.file}: {mutation.old.strip()}", flush=True)
            print(f"{'':18} {found}", flush=True)
    print(f"{survived} not caught")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
