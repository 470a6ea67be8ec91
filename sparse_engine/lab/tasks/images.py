"""Reader of images and labels in the files of MNIST and its relatives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from sparse_engine.lab.tasks.files import DataFile
from sparse_engine.lab.tasks.idx import read_idx
from sparse_engine.lab.tasks.supervised import Examples

#: SHA-256 of the images and of the labels of each part, ``train`` and ``t10k``.
Hashes = Mapping[str, tuple[str, str]]


def read_images(
    part: str, *, dataset: str, site: str, hashes: Hashes, folder: Path | None
) -> Examples:
    """Read images of 28 x 28 grey levels, scaled to [0, 1], ``[images, 784]``, and their classes.

    Args:
        part: ``train`` or ``t10k``, with which the names of the files begin.
        dataset: name of the data set's folder.
        site: address of the files.
        hashes: hashes of the files.
        folder: folder of the files; None for the usual places.

    Raises:
        FileNotFoundError: a file is absent and cannot be downloaded.
        ValueError: a file that is damaged, images and labels of different numbers, or a label that
            is not in [0, 10).
    """
    names = (f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz")
    found = [
        DataFile(dataset, name, site + name, sha256).find(folder)
        for name, sha256 in zip(names, hashes[part], strict=True)
    ]
    images, labels = read_idx(found[0], 28, 28), read_idx(found[1])
    if len(images) != len(labels):
        raise ValueError(
            f"expected a label for each of {len(images):,} images of {found[0]}, found "
            f"{len(labels):,} in {found[1]}"
        )
    if labels.max(initial=0) >= 10:
        wrong = int((labels >= 10).argmax())
        raise ValueError(
            f"expected labels in [0, 10), found {labels[wrong]} at position {wrong} in {found[1]}"
        )
    pixels = torch.from_numpy(images / 255).to(torch.get_default_dtype()).flatten(1)
    return Examples(pixels, torch.from_numpy(labels.astype("int64")))
