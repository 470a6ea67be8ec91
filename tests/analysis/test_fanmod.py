"""FANMOD's files of signed networks."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from sparse_engine import convert
from sparse_engine.analysis import read_fanmod, signed_network, structural_balance, write_fanmod


def test_lines_are_source_target_colour(tmp_path):
    file = tmp_path / "w.txt"
    write_fanmod(csr_array(np.array([[0, -0.3, 0], [2.5, 0, 0], [1, 0, 0]])), file)
    assert file.read_text() == "0\t1\t1\n0\t2\t1\n1\t0\t2\n"
    found = read_fanmod(file)
    assert found.shape == (3, 3) and found.dtype == np.float64
    assert found.toarray().tolist() == [[0, -1, 0], [1, 0, 0], [1, 0, 0]]
    w = signed_network(9, 0.4, self_loops=True, seed=2)
    write_fanmod(w, file)
    assert (read_fanmod(file, nodes=9) != w).nnz == 0


def test_published_files_come_back_as_they_are(data, tmp_path):
    files = [*(data / "topologies" / "generated").glob("*_0.[0-9][0-9][0-9].txt")]
    assert len(files) >= 13
    for file in files:
        write_fanmod(read_fanmod(file), tmp_path / "w.txt")
        lines = [sorted(path.read_text().split("\n")) for path in (file, tmp_path / "w.txt")]
        assert lines[0] == lines[1]


def test_what_is_no_colour(tmp_path):
    file = tmp_path / "w.txt"
    file.write_text("0\t1\t1\n1\t2\t3\n")
    with pytest.raises(ValueError, match=r"colours 1 and 2 in .*w.txt, found 3"):
        read_fanmod(file)
    zero = csr_array((np.array([1.0, 0.0]), ([1, 0], [0, 1])), shape=(2, 2))
    with pytest.raises(ValueError, match="positive or negative, found 0 from 1 to 0"):
        write_fanmod(zero, file)


def test_colours_are_not_taken_for_weights(tmp_path):
    """Read as weights, the colours would make every semicycle balanced."""
    w, file = signed_network(20, 0.3, seed=1), tmp_path / "w.txt"
    write_fanmod(w, file)
    with pytest.raises(ValueError, match=r"weights in the third column of .*w.txt, .*fanmod"):
        structural_balance(file)
    assert structural_balance(read_fanmod(file)) == structural_balance(w)
    assert structural_balance(w).pooled < 1
    assert structural_balance(convert.read_edge_list(file)).pooled == 1


@pytest.mark.parametrize(
    "lines",
    ["0\t1\t1\n1\t2\t-2\n", "0\t1\n1\t2\n", "0\t1\t1\n1\t2\t1\n", "0\t1\t1\n1\t2\t2\n1\t0\t3\n"],
)
def test_other_columns_are_weights(tmp_path, lines):
    (tmp_path / "w.txt").write_text(lines)
    structural_balance(tmp_path / "w.txt")


def test_a_column_that_is_called_weight_is_one(tmp_path):
    (tmp_path / "w.csv").write_text("Id,Source,Target,Weight\n0,0,1,1\n1,1,2,2\n")
    assert structural_balance(tmp_path / "w.csv").triads == (0, 0)
