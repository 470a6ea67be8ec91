"""Tasks with tiny data: files of the layouts that they read, with made-up content."""

from __future__ import annotations

import dataclasses
import gzip
import importlib.util
import struct
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from sparse_engine.lab.tasks import TASKS, PennTreebank, Task, WikiText2, WordLanguage
from sparse_engine.lab.tasks.windows import ACTIVITIES, TAGS, VIDEOS

random = np.random.default_rng(0)


def write_mat(name: str, examples: int, features: int, classes: int, folder: Path) -> None:
    y = np.arange(examples)[:, None] % classes + 1
    savemat(folder / name, {"X": random.random((examples, features)), "Y": y.astype(np.uint8)})


def write_cifar(folder: Path, pictures: int = 20) -> None:
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        records = random.integers(0, 256, (pictures, 3073), np.uint8)
        records[:, 0] %= 10
        records.tofile(folder / f"{name}.bin")


def write_madelon(folder: Path) -> None:
    rows = [" ".join(str(400 + (7 * i + j) % 97) for j in range(500)) + " \n" for i in range(97)]
    for part, count in (("train", 2000), ("valid", 600)):
        lines = (rows * (count // 97 + 1))[:count]
        (folder / f"madelon_{part}.data").write_text("".join(lines))
        (folder / f"madelon_{part}.labels").write_text("-1\n1\n" * (count // 2))


write_coil20 = partial(write_mat, "COIL20.mat", 1440, 1024, 20)


def write_gesture(folder: Path, rows: int = 70) -> None:
    header = ",".join([*map(str, range(1, 33)), "Phase"])
    for video in VIDEOS:
        lines = [
            ",".join([*(f"{x:.8f}" for x in random.normal(size=32)), "DPSHR"[row % 5]])
            for row in range(rows)
        ]
        (folder / f"{video}_va3.csv").write_text("\n".join([header, *lines]) + "\n")


def write_person(folder: Path, sizes: tuple[int, ...] = (110, 100, 130)) -> None:
    tags, activities = list(TAGS), list(ACTIVITIES)
    lines = []
    for number, size in enumerate(sizes):
        for row in range(size):
            x, y, z = random.normal(size=3)
            what = activities[row % len(activities)]
            lines.append(
                f"A0{number},{tags[row % 4]},63379022605{row:07},27.05.2009 14:03:25:127,"
                f"{x:.6f},{y:.6f},{z:.6f},{what}"
            )
    (folder / "ConfLongDemo_JSI.txt").write_text("\r\n".join(lines) + "\r\n")


def write_sms(folder: Path, messages: int = 60) -> None:
    words = ["free", "win", "call", "Go", "it's", "ok", "2day", "later"]
    lines = []
    for number in range(messages):
        chosen = random.choice(words, random.integers(1, 30))
        lines.append(f"{'spam' if number % 4 == 0 else 'ham'}\t{' '.join(chosen)}")
    (folder / "text_data.txt").write_text("\n".join(lines) + "\n\n")


def write_idx(path: Path, items: np.ndarray) -> None:
    header = struct.pack(f">{1 + items.ndim}I", 0x800 + items.ndim, *items.shape)
    path.write_bytes(gzip.compress(header + items.astype(np.uint8).tobytes()))


def write_mnist(folder: Path, train: int = 60, test: int = 20) -> None:
    for part, count in (("train", train), ("t10k", test)):
        if count:
            images = random.integers(0, 256, (count, 28, 28))
            write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
            write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(count) % 10)


def write_text(task: type[WordLanguage], folder: Path, lines: int = 40) -> None:
    words = ["the", "cat", "sat", "on", "a", "mat"]
    for file in task.files.values():
        text = "".join(f" {' '.join(random.choice(words, 8))} \n" for _ in range(lines))
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


#: Functions that write the files of a task into a folder.
WRITERS: dict[str, Callable[[Path], None]] = {
    "cifar-10": write_cifar,
    "coil20": write_coil20,
    "coil20-rbm": write_coil20,
    "lung": partial(write_mat, "lung.mat", 203, 3312, 5),
    "madelon": write_madelon,
    "fashion-mnist": write_mnist,
    "gesture": write_gesture,
    "mnist": write_mnist,
    "mnist-mlp": write_mnist,
    "penn-treebank": partial(write_text, PennTreebank),
    "person": write_person,
    "sms": write_sms,
    "wikitext-2": partial(write_text, WikiText2),
}

#: Settings that suit tiny data.
SETTINGS: dict[str, dict[str, int]] = {
    "cifar-10": {"batch_size": 8},
    "fashion-mnist": {"batch_size": 8, "train_size": 40, "validation_size": 8, "test_size": 12},
    "mnist-mlp": {"batch_size": 8},
    "adding": {"length": 12, "held_out": 20},
    "copy-memory": {"delay": 5, "held_out": 20},
    "delayed-match": {"delay": 3, "held_out": 20},
    "gesture": {"batch_size": 3},
    "mnist": {"batch_size": 8},
    "penn-treebank": {"batch_size": 3, "bptt": 4, "evaluation_streams": 2},
    "person": {"batch_size": 3},
    "sms": {"batch_size": 8, "validation_size": 10},
    "wikitext-2": {"batch_size": 3, "bptt": 4, "evaluation_streams": 2},
}

#: Libraries that ship the data of a task.
LIBRARIES = {"digits": "sklearn", "laser": "reservoirpy"}


def put_aeon(patch: pytest.MonkeyPatch) -> None:
    """Put a module with made-up data in the place of aeon, where that is not installed."""
    if importlib.util.find_spec("aeon") is not None:
        return

    def load_japanese_vowels(split):
        count = {"train": 270, "test": 370}[split]
        generator = np.random.default_rng(count)
        sequences = [generator.normal(size=(12, 7 + k % 23)) for k in range(count)]
        return sequences, np.array([str(k * 9 // count + 1) for k in range(count)])

    datasets = types.ModuleType("aeon.datasets")
    datasets.load_japanese_vowels = load_japanese_vowels
    patch.setitem(sys.modules, "aeon", types.ModuleType("aeon"))
    patch.setitem(sys.modules, "aeon.datasets", datasets)


def tiny_task(place: Path, name: str, **settings: object) -> Task:
    """Make the task of a name; files that it needs are written into a folder of ``place``."""
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name], reason=f"{LIBRARIES[name]} is not installed")
    task = TASKS[name]
    if "data" in {field.name for field in dataclasses.fields(task)}:
        folder = place / name
        if not folder.exists():
            folder.mkdir()
            WRITERS[name](folder)
        settings = {"data": folder} | settings
    return task(**(SETTINGS.get(name, {}) | settings))
