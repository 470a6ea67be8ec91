"""Files of data sets that are damaged, or other than published, are refused in a line."""

import gzip
import struct

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from sparse_engine.lab.tasks import WordLanguage
from sparse_engine.lab.tasks.readers import read_mat

GESTURE, PERSON, SMS = "b3_va3.csv", "ConfLongDemo_JSI.txt", "text_data.txt"
IMAGES, LABELS, BATCH = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "data_batch_1.bin"
TRAIN, CLASSES = "madelon_train.data", "madelon_train.labels"


def swap(old, new):
    return lambda content: content.replace(old.encode(), new.encode(), 1)


def whole(text):
    return lambda content: text.encode()


def line(text):
    return lambda content: content.rstrip(b"\n") + f"\n{text}\nham\tGo\n".encode()


def header(offset, number):
    def change(content):
        data = bytearray(gzip.decompress(content))
        data[offset : offset + 4] = struct.pack(">I", number)
        return gzip.compress(data)

    return change


def few_labels(content):
    return gzip.compress(struct.pack(">II", 0x801, 19) + bytes(19))


def label_10(content):
    return content[: 17 * 3073] + b"\n" + content[17 * 3073 + 1 :]


PHASES, GZIP = "one of D, P, S, H, R in column 33, found", "a whole gzip file"
IDX = r"expected IDX of unsigned bytes of shape \[items, 28, 28\], found the header "
DAMAGES = [
    ("gesture", GESTURE, swap(",D\n", "\n"), "expected 33 columns, found '32: .* line 2 of"),
    ("gesture", GESTURE, swap(",P\n", ",Q\n"), PHASES),
    ("gesture", GESTURE, swap(",P\n", ",\x00\n"), PHASES),
    ("gesture", GESTURE, lambda content: content[: len(content) // 2], "expected 33 columns"),
    ("gesture", GESTURE, swap("0.", "x."), "a finite number in column"),
    ("gesture", GESTURE, swap("0.", "1e999,0."), "expected 33 columns, found '34"),
    ("gesture", GESTURE, lambda content: content.splitlines()[0], "lines of numbers, found none"),
    ("gesture", GESTURE, whole(""), "a header and lines of numbers, found none in"),
    ("gesture", GESTURE, lambda content: bytes(range(256)) * 40, "expected 33 columns"),
    ("person", PERSON, swap("walking", "flying"), "one of lying, .* column 8, found 'flying' in"),
    ("person", PERSON, swap("-033-111", "-033-112"), "one of 010-000-024-033, .* in column 2"),
    ("person", PERSON, swap(",27.05.2009 14:03:25:127,", ","), "expected 8 columns, found '7: "),
    ("person", PERSON, swap(":127,", ":127,x"), "a finite number in column 5, found 'x"),
    ("person", PERSON, swap(":127,", ":127,nan,"), "expected 8 columns, found '9: "),
    ("person", PERSON, whole("\n"), "expected recordings, found 0 in"),
    ("sms", SMS, line("eggs\tGo"), "one of spam, ham in column 1, found 'eggs' in line 61 of"),
    ("sms", SMS, line("ham Go"), "expected 2 columns, found '1: ham Go' in line 61 of"),
    ("sms", SMS, line("ham\tGo\tGo"), "expected 2 columns, found '3: "),
    ("sms", SMS, line("\tGo"), "one of spam, ham in column 1, found '' in line 61"),
    ("sms", SMS, whole(""), "expected messages, found none in"),
    ("mnist", IMAGES, lambda content: content[:-4], GZIP),
    ("mnist", IMAGES, whole("<html>"), GZIP),
    ("mnist", IMAGES, lambda content: content[:40] + b"\xff" * 40 + content[80:], GZIP),
    ("mnist", IMAGES, whole(""), f"{IDX} and 0 bytes in"),
    ("mnist", IMAGES, lambda content: gzip.compress(b"\0\0\x08\x03"), f"{IDX}00000803 and 0 bytes"),
    *(
        ("mnist", IMAGES, header(*change), f"{IDX}.* and 15,680 bytes in")
        for change in ((0, 0x801), (0, 0xD03), (4, 21), (4, 19), (4, 2**32 - 1), (12, 27))
    ),
    ("mnist", LABELS, header(0, 0x803), "expected IDX of unsigned bytes of shape"),
    ("mnist", LABELS, few_labels, "a label for each of 20 images of .* found 19 in .*t10k"),
    ("mnist", LABELS, header(8, 0x0102030A), r"labels in \[0, 10\), found 10 at position 3"),
    ("cifar-10", BATCH, lambda content: content[:3072], "up to 10,000 pictures .*, found 3,072 in"),
    ("cifar-10", BATCH, label_10, r"labels in \[0, 10\), found 10 at position 17"),
    ("madelon", TRAIN, whole("1 2 3 \n"), "expected 501 columns, found '4: 1 2 3' in line 1"),
    ("madelon", TRAIN, whole("x " * 500 + "\n"), "a finite number in column 1, found 'x'"),
    ("madelon", CLASSES, whole("2\n"), "expected one of -1, 1 in column 1, found '2' in line 1"),
    ("madelon", CLASSES, whole("1\n"), "expected 2,000 lines, found 1 in"),
    ("penn-treebank", "train.txt", whole(""), "words in .*, found none among 0 bytes"),
    ("penn-treebank", "train.txt", whole(" \n\n \n"), "words in .*, found none among 5 bytes"),
    (
        "penn-treebank",
        "train.txt",
        lambda content: b"the \xff cat\n",
        "UTF-8 text in .*, found the byte 0xff at position 4",
    ),
]


@pytest.mark.parametrize(("name", "file", "damage", "expected"), DAMAGES)
def test_a_damaged_file_is_named(tiny, name, file, damage, expected):
    task = tiny(name)
    path = task.data / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=expected) as error:
        _ = task._streams if isinstance(task, WordLanguage) else task.load()
    assert str(path) in str(error.value)


def test_grey_levels_are_in_their_range(tiny):
    task = tiny("coil20")
    matrices = loadmat(task.data / "COIL20.mat", variable_names=["X", "Y"])
    savemat(task.data / "COIL20.mat", {"X": 255 * matrices["X"], "Y": matrices["Y"]})
    with pytest.raises(ValueError, match=r"expected grey levels in \[0, 1\], found 0"):
        task.load()


@pytest.fixture
def matrices():
    return {"X": np.random.default_rng(0).random((6, 4)), "Y": np.arange(6)[:, None] % 3 + 1}


FORMATS = [{}, {"do_compression": True}, {"format": "4"}]


def read(path, matrices, **options):
    savemat(path, matrices, **options)
    return read_mat(path, 6, 4, 3)


@pytest.mark.parametrize("options", FORMATS)
def test_reads_what_matlab_writes_and_no_damaged_byte_of_it_raises_else(
    tmp_path, matrices, options
):
    path, generator = tmp_path / "a.mat", np.random.default_rng(0)
    examples = read(path, matrices, **options)
    np.testing.assert_allclose(examples.inputs, matrices["X"], rtol=1e-6)
    assert examples.targets.tolist() == [0, 1, 2, 0, 1, 2]
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


@pytest.mark.parametrize(
    ("name", "matrix", "message"),
    [
        ("X", None, r"expected real numbers X of shape \[6, 4\].*found object of shape \[\]"),
        ("X", np.zeros((6, 5)), r"numbers X of shape .*found .* of shape \[6, 5\]"),
        ("Y", np.zeros((1, 6)), r"numbers Y of shape .*found .* of shape \[1, 6\]"),
        ("X", np.full((6, 4), np.nan), "expected finite X, found nan at 0, 0"),
        ("X", np.full((6, 4), 1j), "expected real numbers X"),
        ("X", np.full((6, 4), "a", object), "expected real numbers X"),
        ("Y", np.zeros((6, 1)), "expected classes of 1 to 3, found 0 at position 0"),
        ("Y", np.full((6, 1), 4), "expected classes of 1 to 3, found 4 at position 0"),
        ("Y", np.full((6, 1), 1.5), "expected classes of 1 to 3, found 1.5 at position 0"),
    ],
)
def test_other_matrices_are_refused(tmp_path, matrices, name, matrix, message):
    given = {key: each for key, each in {**matrices, name: matrix}.items() if each is not None}
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.mat", given)
