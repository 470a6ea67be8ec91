"""Files of the layouts that tasks of features read, with made-up content."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import savemat

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

#: Functions that write the files of a task into a folder.
FEATURE_WRITERS: dict[str, Callable[[Path], None]] = {
    "cifar-10": write_cifar,
    "coil20": write_coil20,
    "coil20-rbm": write_coil20,
    "lung": partial(write_mat, "lung.mat", 203, 3312, 5),
    "madelon": write_madelon,
}

#: Settings that suit tiny data.
FEATURE_SETTINGS: dict[str, dict[str, int]] = {
    "cifar-10": {"batch_size": 8},
    "fashion-mnist": {"batch_size": 8, "train_size": 40, "validation_size": 8, "test_size": 12},
    "mnist-mlp": {"batch_size": 8},
}
