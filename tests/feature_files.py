"""Files of the published layouts for tasks of features, some with fewer examples."""

import gzip
import struct
from pathlib import Path

import numpy as np
from scipy.io import savemat


def write_all(root: Path) -> Path:
    """Write the files of every data set below a folder, and return it.

    MNIST and Fashion-MNIST have 36 training images and 20 test images, CIFAR-10 has 20 pictures in
    each file.
    """
    generator = np.random.default_rng(0)
    for name in ("cifar-10", "coil20", "fashion-mnist", "lung", "madelon", "mnist"):
        (root / name).mkdir()
    for name in ("fashion-mnist", "mnist"):
        write_images(root / name, "train", 36, generator)
        write_images(root / name, "t10k", 20, generator)
    write_mat(root / "coil20" / "COIL20.mat", 1440, 1024, 20, generator)
    write_mat(root / "lung" / "lung.mat", 203, 3312, 5, generator)
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        write_pictures(root / "cifar-10" / f"{name}.bin", 20, generator)
    write_madelon(root / "madelon", "train", 2000)
    write_madelon(root / "madelon", "valid", 600)
    return root


def write_images(folder, part, count, generator):
    images = generator.integers(0, 256, (count, 28, 28), np.uint8)
    labels = np.arange(count, dtype=np.uint8) % 10
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes())
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">2I", 0x801, count) + labels.tobytes())


def write_mat(path, examples, features, classes, generator):
    y = np.arange(examples)[:, None] % classes + 1
    savemat(path, {"X": generator.random((examples, features)), "Y": y.astype(np.uint8)})


def write_pictures(path, count, generator):
    records = generator.integers(0, 256, (count, 3073), np.uint8)
    records[:, 0] %= 10
    records.tofile(path)


def write_madelon(folder, part, count):
    rows = [" ".join(str(400 + (7 * i + j) % 97) for j in range(500)) + " \n" for i in range(97)]
    lines = (rows * (count // 97 + 1))[:count]
    (folder / f"madelon_{part}.data").write_text("".join(lines))
    (folder / f"madelon_{part}.labels").write_text("".join(["-1\n", "1\n"] * (count // 2)))
