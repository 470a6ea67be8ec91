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
BY_SCORE_ALONE = "wanted - 1), candidates.end(), [](auto x, auto y) { return x.first < y.first; });"
#: By part, file and tests: texts, and those in their places.
FAULTS = {
    ("training", "lab/train/optimization.py", LOOP): {
        "nn.utils.clip_grad_value_(": "(",
        "nn.utils.clip_grad_norm_(": "(",
        "0.5 * (1 + math.cos(math.pi * step / steps))": "1.0",
        "if not self._by_metric:": "if False:",
        "self._scheduler.step(metric)": "pass",
    },
    ("training", "lab/train/run.py", LOOP): {
        'group["lr"] *= rate': "pass",
        "            constrain()": "            pass",
        '-entry["metric"] if self': 'entry["metric"] if self',
        "        self.model.eval()": "        pass",
        "        self.model.train()": "        pass",
        "if self.scores.since_best == 0": "if True",
        "optimizer.averaged() if": "nullcontext() if",
        "        self.optimizer.zero_grad()": "        pass",
        "hold=evaluation.averaging_begins": "hold=False",
        "self.rewiring.skip()": "self.rewiring.step()",
    },
    ("training", "lab/train/run.py", "lab/train/test_literal_loop.py"): {
        "memory=self.memory,": "memory={},",
    },
    ("training", "lab/train/config.py", LOOP): {
        "0 < self.patience <= scores.since_best": "False",
    },
    ("training", "lab/train/log.py", LOOP): {
        "self._sign = -1 if higher_is_better else 1": "self._sign = 1",
    },
    ("rewiring", "topology/rewiring.py", "topology/test_rewiring.py"): {
        " and not hold": "",
        "parameter.grad = _carried(gradient, rewired, nnz)": "parameter.grad = gradient",
        "state[name] = _carried(state[name], rewired, nnz)": "pass",
    },
    ("rewiring", "topology/rewiring.py", "nn/test_signs.py"): {
        "taken, place)": "taken, sum(not w.frozen_pattern for w in self.weights[:place]))",
    },
    ("rewiring", "topology/rewiring.py", "topology/grow/test_grow.py"): {
        "weight.captured is None or left == self.grow.window": "weight.captured is None",
    },
    ("rewiring", "topology/rewiring.py", "callbacks/test_optimizer_hook.py"): {
        "weight.captured[-1] = []": "pass",
    },
    ("rewiring", "topology/grow.py", "topology/grow/test_grow.py"): {
        "len(steps) - 1 - s": "s",
    },
    ("rewiring", "callbacks/optimizer_hook.py", "callbacks/test_optimizer_hook.py"): {
        'if not getattr(optimizer, "found_inf", False):': "if True:",
    },
    ("rewiring", "topology/redistribute.py", "topology/test_redistribute.py"): {
        "limits if sum(limits) >= total else free": "free",
    },
    ("networks", "nn/_weight_state.py", "nn/test_weight.py"): {
        '"_permutation", "_plan")': '"_permutation")',
    },
    ("networks", "nn/weight.py", "contract/test_called_like_torch.py"): {
        "gain=self.first_gain, dtype": "gain=1.0, dtype",
    },
    ("networks", "nn/recurrent.py", "contract/test_training.py"): {
        "dropout(x, self.dropout, self.training)": "dropout(x, self.dropout)",
    },
    ("networks", "nn/sequence.py", "contract/test_equations.py"): {
        "torch.cat([torch.zeros_like(resets[:1]), resets[1:].flip(0)])": "resets.flip(0)",
    },
    ("networks", "optim/snt_asgd.py", "optim"): {
        "age.sub(1).clamp_": "age.clamp_",
    },
    ("readers", "lab/tasks/readers.py", "lab/tasks/test_damaged.py"): {
        "not data.startswith(wanted) or len": "len",
    },
    ("readers", "lab/tasks/readers.py", "lab/tasks"): {
        "(y >= classes)": "(y > classes)",
    },
    ("readers", "lab/tasks/windows.py", "lab/tasks"): {
        "if not self.faithful:": "if False:",
    },
    ("readers", "convert/edge_list.py", "convert lab/test_cli_graphs.py"): {
        "sources, targets = np.asc": "targets, sources = np.asc",
        "(~np.isfinite(values), ": "(np.isnan(values), ",
    },
    ("readers", "convert/npz.py", "convert"): {
        "if unpacked > max(": "if 0 > max(",
        "0 <= extent <= most": "0 <= extent",
    },
    ("kernels", "cpu/topology/select.cpp", "kernels/test_topology.py"): {
        "wanted - 1), candidates.end());": BY_SCORE_ALONE,
    },
    ("kernels", "cpu/topology/sample.cpp", "kernels/test_topology.py"): {
        "draw % 2 == 0 || i == team.first(missing)": "draw % 2 == 0",
    },
    ("kernels", "cpu/topology/scan.cpp", "kernels/test_topology.py"): {
        "link || ": "",
    },
    ("kernels", "cpu/topology/check.cpp", "kernels/test_refusals.py"): {
        "idx[p] > idx[p - 1]": "idx[p] >= idx[p - 1]",
    },
    ("kernels", "cpu/topology/carry.cpp", "kernels/test_topology.py"): {
        "std::fill(to + first, to + last, Word(0));": "",
    },
    ("kernels", "cpu/sequences/rnn.cpp", "kernels/test_sequences.py"): {
        "seq.columns(q, t + 1) == 0;": "false;",
    },
    ("kernels", "cpu/sequences/rnn.cpp", "kernels/test_rnn.py"): {
        "part = 1; part < parts.count()": "part = 1; part < 1",
    },
    ("kernels", "cpu/products/spmm.cpp", "kernels/test_products.py"): {
        "from_column(a.y, q * W), columns, q": "a.y, columns, q",
    },
    ("kernels", "cpu/sequences/gated_backward.h", "kernels/test_sequences.py"): {
        "seq.set_back(t, q, count, carried.row(q, first));": "",
    },
}

MUTATIONS = [
    Mutation(part, file, old, new, tests)
    for (part, file, tests), texts in FAULTS.items()
    for old, new in texts.items()
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
