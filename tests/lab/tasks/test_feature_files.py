"""Files of features that are damaged, or other than published, are refused in a line."""

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from sparse_engine.lab.tasks import TASKS
from sparse_engine.lab.tasks.cifar_10 import read_pictures
from sparse_engine.lab.tasks.readers import read_mat


@pytest.fixture
def matrices():
    return {"X": np.random.default_rng(0).random((6, 4)), "Y": np.arange(6)[:, None] % 3 + 1}


def read(path, matrices, **options):
    savemat(path, matrices, **options)
    return read_mat(path, 6, 4, 3)


@pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}])
def test_reads_what_matlab_writes(tmp_path, matrices, options):
    examples = read(tmp_path / "a.mat", matrices, **options)
    np.testing.assert_allclose(examples.inputs, matrices["X"], rtol=1e-6)
    assert examples.targets.tolist() == [0, 1, 2, 0, 1, 2]


def changed(matrices, **changes):
    return {name: each for name, each in {**matrices, **changes}.items() if each is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": None}, r"expected real numbers X of shape \[6, 4\].*found object of shape \[\]"),
        ({"X": np.zeros((6, 5))}, r"numbers X of shape .*found .* of shape \[6, 5\]"),
        ({"Y": np.zeros((1, 6))}, r"numbers Y of shape .*found .* of shape \[1, 6\]"),
        ({"X": np.full((6, 4), np.nan)}, "expected finite X, found nan at 0, 0"),
        ({"X": np.full((6, 4), 1j)}, "expected real numbers X"),
        ({"X": np.full((6, 4), "a", object)}, "expected real numbers X"),
        ({"Y": np.zeros((6, 1))}, "expected classes of 1 to 3, found 0 at position 0"),
        ({"Y": np.full((6, 1), 4)}, "expected classes of 1 to 3, found 4 at position 0"),
        ({"Y": np.full((6, 1), 1.5)}, "expected classes of 1 to 3, found 1.5 at position 0"),
    ],
)
def test_other_matrices_are_refused(tmp_path, matrices, changes, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.mat", changed(matrices, **changes))


def test_grey_levels_are_in_their_range(tmp_path, data):
    matrices = loadmat(data / "coil20" / "COIL20.mat", variable_names=["X", "Y"])
    savemat(tmp_path / "COIL20.mat", {"X": 255 * matrices["X"], "Y": matrices["Y"]})
    with pytest.raises(ValueError, match=r"expected grey levels in \[0, 1\], found 0 to 255"):
        TASKS["coil20"](data=tmp_path).load()


@pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}])
def test_damaged_matrices_are_refused(tmp_path, matrices, options):
    """Whichever byte is wrong, a file is either read or refused."""
    path, generator = tmp_path / "a.mat", np.random.default_rng(0)
    read(path, matrices, **options)
    whole = path.read_bytes()
    for at in generator.integers(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[at] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_mat(path, 6, 4, 3)
        except ValueError:
            continue
    for size in generator.integers(0, len(whole), 20):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="expected"):
            read_mat(path, 6, 4, 3)


def test_pictures_of_another_size_or_kind_are_refused(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    np.zeros(3072, np.uint8).tofile(path)
    with pytest.raises(ValueError, match="up to 10,000 pictures of 3,073 bytes, found 3,072 in"):
        read_pictures(path)
    records = np.zeros((10_000, 3073), np.uint8)
    records[17, 0] = 10
    records.tofile(path)
    with pytest.raises(ValueError, match=r"labels in \[0, 10\), found 10 at position 17"):
        read_pictures(path)


@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        ("train.data", "1 2 3 \n", "expected 501 columns, found '4: 1 2 3' in line 1"),
        ("train.data", "x " * 500 + "\n", "expected a finite number in column 1, found 'x'"),
        ("train.labels", "2\n", "expected one of -1, 1 in column 1, found '2' in line 1"),
        ("train.labels", "1\n", "expected 2,000 lines, found 1 in"),
    ],
)
def test_damaged_text_is_refused(tmp_path, part, text, message):
    row = "1 " * 500 + "\n"
    for name, count in (("train", 2000), ("valid", 600)):
        (tmp_path / f"madelon_{name}.data").write_text(row * count)
        (tmp_path / f"madelon_{name}.labels").write_text("1\n" * count)
    (tmp_path / f"madelon_{part}").write_text(text)
    with pytest.raises(ValueError, match=message):
        TASKS["madelon"](data=tmp_path).load()
