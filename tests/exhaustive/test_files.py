"""Files of every format, damaged at random: the command line reads each or refuses it in a line."""

import io
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from safetensors.torch import save_file
from scipy.sparse import random_array, save_npz

from sparse_engine import convert
from sparse_engine.analysis import write_fanmod
from sparse_engine.lab.cli import MENDABLE
from sparse_engine.lab.cli.analyze import Analyze
from sparse_engine.lab.cli.distance import Distance
from sparse_engine.lab.cli.train import RunOptions, TrainTask
from sparse_engine.lab.train import Config
from sparse_engine.nn import GroupedWeight, SparseRNN

#: Damages of each file, and of a run.
OF_FILES, OF_RUNS = 500, 40
# As large as a pointer, a count or a size can be, and their neighbours.
NUMBERS = [0, 1, 2, 3, 40, 127, 128, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63]
DTYPES = ["i1", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "?"]


def graph():
    w = random_array((12, 12), density=0.3, format="csr", rng=0)
    w.data -= 0.5
    return w


def npz(form, compressed):
    def write(path):
        w = graph()
        save_npz(path, w.tobsr((2, 3)) if form == "bsr" else w.asformat(form), compressed)

    return write


def state_dict(path):
    rnn = SparseRNN(3, 12, num_layers=2, density=0.3)
    tied = rnn.weight_hh_l1
    rnn.weight_hh_l1 = GroupedWeight(tied.values, tied.pattern, torch.arange(tied.nnz) % 3)
    save_file(rnn.state_dict(), path)


def edge_list(path):
    convert.write_edge_list(convert.from_scipy(graph()), path)


FORMATS = {
    **{f"{form}.npz": npz(form, False) for form in ("csr", "csc", "bsr", "coo", "dia")},
    "compressed.npz": npz("csr", True),
    "model.safetensors": state_dict,
    "edges.csv": edge_list,
    "edges.tsv": edge_list,
    "fanmod.txt": lambda path: write_fanmod(graph(), path),
}


def with_bytes_changed(content, rng):
    """One to four changes: bits, runs of bytes, numbers, digits, what is cut off or repeated."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at, kind = int(rng.integers(max(1, len(data)))), rng.integers(6)
        number = NUMBERS[rng.integers(len(NUMBERS))]
        if kind == 0 and data:
            data[at] ^= 1 << rng.integers(8)
        elif kind == 1:
            data[at : at + int(rng.integers(1, 16))] = rng.bytes(int(rng.integers(16)))
        elif kind == 2:
            size = int(rng.choice([1, 2, 4, 8]))
            data[at : at + size] = (number % 256**size).to_bytes(size, "little")
        elif kind == 3:
            digits = [k for k, byte in enumerate(data) if chr(byte).isdigit()] or [0]
            at = digits[rng.integers(len(digits))]
            data[at : at + 1] = str(number).encode()
        elif kind == 4:
            del data[at : at + int(rng.integers(1, 64))]
        else:
            data[at:at] = data[at : at + int(rng.integers(1, 64))]
    return bytes(data)


def with_members_changed(content, rng):
    """A zip archive of which one member has its bytes changed, under a checksum that is right."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            member = old.read(name)
            new.writestr(name, with_bytes_changed(member, rng) if name == chosen else member)
    return changed.getvalue()


def changed(array, rng):
    """Another number, dtype, length or number of dimensions."""
    kind = rng.integers(7)
    if kind <= 2 and array.size and array.dtype.kind in "iuf":
        array = array.copy()
        number = int(rng.choice([-1, 1])) * NUMBERS[rng.integers(len(NUMBERS))]
        array.flat[rng.integers(array.size)] = np.float64(number).astype(array.dtype)
    elif kind == 3 and array.dtype.kind in "iuf":
        array = array.astype(rng.choice(DTYPES))
    elif kind == 4:
        array = array.reshape(-1)[: rng.integers(array.size + 1)]
    elif kind == 5:
        array = np.concatenate([array.reshape(-1)] * 2)
    else:
        array = array[None] if rng.random() < 0.5 else array.reshape(-1)[:1].reshape(())
    return array


def with_arrays_changed(arrays, rng):
    """One or two arrays changed, or now and then one left out."""
    arrays = dict(arrays)
    for name in rng.choice([*arrays], rng.integers(1, 3)):
        if name in arrays and rng.random() < 0.05:
            del arrays[name]
        elif name in arrays and arrays[name].size:
            arrays[name] = changed(arrays[name], rng)
    return arrays


def damaged(content, path, rng):
    way = rng.random()
    with np.errstate(all="ignore"):
        if path.suffix == ".npz" and way < 0.6:
            file = io.BytesIO()
            np.savez(file, **with_arrays_changed(np.load(io.BytesIO(content)), rng))
            return file.getvalue()
        if path.suffix == ".safetensors" and way < 0.7:
            return save(with_arrays_changed(load(content), rng))
    if path.suffix == ".npz" and way < 0.8:
        return with_members_changed(content, rng)
    return with_bytes_changed(content, rng)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of values that overflow
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused(name, tmp_path, capsys):
    whole, path = tmp_path / f"whole-{name}", tmp_path / name
    FORMATS[name](whole)
    content, rng = whole.read_bytes(), np.random.default_rng(len(name))
    form = "fanmod" if name == "fanmod.txt" else None
    commands = [
        Analyze(files=(path,), format=form, json=True),
        Distance(networks=(whole, path), json=True),
    ]

    def damage():
        path.write_bytes(damaged(content, path, rng))

    assert refusals(commands, damage, OF_FILES, capsys)


def test_damaged_runs_are_read_or_refused(tmp_path, capsys):
    whole, run = tmp_path / "whole", tmp_path / "run"
    quick = Config.published("mackey-glass", hidden=12, density=0.3, steps=2, every=1)
    TrainTask(quick, out=whole, options=RunOptions(threads=1))()
    rng = np.random.default_rng(0)
    files = sorted(file.name for file in whole.iterdir() if file.suffix != ".png")

    def damage():
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(whole, run)
        file = run / rng.choice(files)
        file.write_bytes(with_bytes_changed(file.read_bytes(), rng))

    commands = [Analyze(files=(run,), json=True), TrainTask(quick, out=run, resume=True)]
    assert refusals(commands, damage, OF_RUNS, capsys)


def refusals(commands, damage, count, capsys):
    """Count how often commands refuse what is damaged anew each time; let other errors through."""
    refused = 0
    for _ in range(count):
        damage()
        for command in commands:
            try:
                command()
            except MENDABLE as error:
                assert str(error) or isinstance(error, MemoryError)
                refused += 1
        capsys.readouterr()
    return refused
