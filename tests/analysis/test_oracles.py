"""The analyses of published networks, to all published digits, and FANMOD's files of them."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from sparse_engine import analysis, convert
from sparse_engine.analysis.motifs import CONNECTED, split

# Balanced and unbalanced semicycles by class, class mean, pooled, balanced triads and all, and the
# transitive semicycles of every class.
BALANCE = {
    "mnist_pruning_epoch200": (
        "331/61 38/4 32/2 0/0", "0.896775", "0.856838", (366, 430), (423, 77)
    ),
    "mnist_set_core_epoch200": (
        "126/45 6/4 6/2 0/0", "0.695614", "0.730159", (132, 180), (148, 52)
    ),
    "mackey_glass_set_epoch100": (
        "145/88 6/4 13/5 0/0", "0.648180", "0.628352", (154, 247), (177, 102)
    ),
    "gesture_pruning_epoch200": (
        "126/69 34/8 16/8 6/0", "0.780586", "0.681648", (152, 229), (214, 93)
    ),
    "gesture_ctrnn_deepr_epoch200": (
        "108/83 4/4 8/8 0/0", "0.521815", "0.558140", (112, 203), (130, 98)
    ),
}  # fmt: skip
CENSUS = {
    "mnist_pruning_epoch200": "408902 122947 5556 2913 2871 6367 559 572 392 127 26 21 17 29 1 0",
    "mnist_set_core_epoch200": "434728 105167 2133 2140 2177 4340 168 194 171 63 1 5 4 8 1 0",
    "mackey_glass_set_epoch100": "253059 77076 2245 2054 1992 4119 245 247 233 74 2 5 9 15 1 0",
    "gesture_pruning_epoch200": "258022 71606 3692 1597 2067 3319 426 311 195 59 18 21 12 25 5 1",
    "gesture_ctrnn_deepr_epoch200": "251375 79062 2194 2021 2016 3996 221 195 191 76 6 4 8 10 1 0",
}


@pytest.mark.parametrize("name", BALANCE)
def test_balance(name, data):
    classes, class_mean, pooled, triads, transitive = BALANCE[name]
    report = analysis.structural_balance(data / "topologies" / "trained" / f"{name}.csv")
    found = " ".join(f"{b}/{total - b}" for b, total in report.classes.values())
    assert found == classes
    assert f"{report.class_mean:.6f}" == class_mean
    assert f"{report.pooled:.6f}" == pooled
    assert report.triads == triads
    assert report.transitive == (transitive[0], sum(transitive))


@pytest.mark.parametrize("name", CENSUS)
def test_census(name, data):
    census = analysis.triad_census(data / "topologies" / "trained" / f"{name}.csv")
    assert " ".join(map(str, census.values())) == CENSUS[name]


def test_significance(data):
    """The z-scores of 300 shuffles, as far as so few can tell."""
    file = data / "topologies" / "trained" / "mnist_pruning_epoch200.csv"
    model = analysis.null_model(file, n=300)
    assert model.z_scores["pooled"] == pytest.approx(15.8, abs=2)
    assert model.z_scores["class_mean"] == pytest.approx(10.1, abs=2)
    assert model.p_values["pooled"] == 1 / 301
    file = data / "topologies" / "trained" / "gesture_ctrnn_deepr_epoch200.csv"
    assert analysis.null_model(file, n=300).p_values["class_mean"] > 0.1


def motifs_of(file):
    """The frequency, mean, deviation and z-score of each motif in a table of FANMOD.

    A motif has three lines, with the colours of the links out of a node each.
    """
    lines = [line for line in file.read_text().splitlines() if line][::-1]
    lines = lines[: lines.index(",,[Original],[Random],[Random]")][::-1]
    motifs = {}
    for first in range(0, len(lines), 3):
        _, row, *numbers = lines[first].split(",")
        rows = [row, *(line.strip(",") for line in lines[first + 1 : first + 3])]
        colours = np.array([[*map(int, row)] for row in rows]).T
        links = csr_array(np.array([0.0, 1.0, -1.0])[colours])
        (name,) = (name for name, count in analysis.signed_triad_census(links).items() if count)
        motifs[name] = [
            float(number.rstrip("%")) / (100 if "%" in number else 1)
            for number in numbers[:4]
            if number != "undefined"
        ]
    return motifs


@pytest.fixture
def fanmod(data):
    """A network, and what FANMOD counted in it and in 1,000 random ones."""
    file = data / "topologies" / "generated" / "BN_n_150_p_0.05.txt"
    return analysis.read_fanmod(file), motifs_of(file.with_name(f"{file.name}.csv"))


def test_counts_of_fanmod(fanmod):
    network, found = fanmod
    census = analysis.signed_triad_census(network)
    connected = {k: n for k, n in census.items() if n and split(k)[0] in CONNECTED}
    assert sum(connected.values()) == 14_841
    assert {name: round(each[0] * 14_841) for name, each in found.items()} == connected
    assert len(found) == len(connected) == 73


def test_chance_of_fanmod(fanmod):
    """FANMOD keeps the mutual pairs of all nodes together, we those of each."""
    network, found = fanmod
    kind = analysis.DegreePreserving(keep_mutual=True, keep_signs=False)
    model = analysis.null_model(network, kind=kind, n=300)
    loops = {name: each for name, each in found.items() if name.startswith("030T")}
    assert len(loops) == 8
    for name, (_, mean, deviation, z_score) in loops.items():
        drawn = model.samples[name] / 14_841
        assert drawn.mean() == pytest.approx(mean, rel=0.1)
        assert drawn.std() == pytest.approx(deviation, rel=0.2)
        assert model.z_scores[name] == pytest.approx(z_score, abs=0.9)


def test_lines_are_source_target_colour(tmp_path):
    file = tmp_path / "w.txt"
    analysis.write_fanmod(csr_array(np.array([[0, -0.3, 0], [2.5, 0, 0], [1, 0, 0]])), file)
    assert file.read_text() == "0\t1\t1\n0\t2\t1\n1\t0\t2\n"
    found = analysis.read_fanmod(file)
    assert found.shape == (3, 3) and found.dtype == np.float64
    assert found.toarray().tolist() == [[0, -1, 0], [1, 0, 0], [1, 0, 0]]
    w = analysis.signed_network(9, 0.4, self_loops=True, seed=2)
    analysis.write_fanmod(w, file)
    assert (analysis.read_fanmod(file, nodes=9) != w).nnz == 0


def test_published_files_come_back_as_they_are(data, tmp_path):
    files = [*(data / "topologies" / "generated").glob("*_0.[0-9][0-9][0-9].txt")]
    assert len(files) >= 13
    for file in files:
        analysis.write_fanmod(analysis.read_fanmod(file), tmp_path / "w.txt")
        lines = [sorted(path.read_text().split("\n")) for path in (file, tmp_path / "w.txt")]
        assert lines[0] == lines[1]


def test_what_is_no_colour(tmp_path):
    file = tmp_path / "w.txt"
    file.write_text("0\t1\t1\n1\t2\t3\n")
    with pytest.raises(ValueError, match=r"colours 1 and 2 in .*w.txt, found 3"):
        analysis.read_fanmod(file)
    zero = csr_array((np.array([1.0, 0.0]), ([1, 0], [0, 1])), shape=(2, 2))
    with pytest.raises(ValueError, match="positive or negative, found 0 from 1 to 0"):
        analysis.write_fanmod(zero, file)


def test_colours_are_not_taken_for_weights(tmp_path):
    """Read as weights, the colours would make every semicycle balanced."""
    w, file = analysis.signed_network(20, 0.3, seed=1), tmp_path / "w.txt"
    analysis.write_fanmod(w, file)
    with pytest.raises(ValueError, match=r"weights in the third column of .*w.txt, .*fanmod"):
        analysis.structural_balance(file)
    assert analysis.structural_balance(analysis.read_fanmod(file)) == analysis.structural_balance(w)
    assert analysis.structural_balance(w).pooled < 1
    assert analysis.structural_balance(convert.read_edge_list(file)).pooled == 1


@pytest.mark.parametrize(
    "lines",
    ["0\t1\t1\n1\t2\t-2\n", "0\t1\n1\t2\n", "0\t1\t1\n1\t2\t1\n", "0\t1\t1\n1\t2\t2\n1\t0\t3\n"],
)
def test_other_columns_are_weights(tmp_path, lines):
    (tmp_path / "w.txt").write_text(lines)
    analysis.structural_balance(tmp_path / "w.txt")


def test_a_column_that_is_called_weight_is_one(tmp_path):
    (tmp_path / "w.csv").write_text("Id,Source,Target,Weight\n0,0,1,1\n1,1,2,2\n")
    assert analysis.structural_balance(tmp_path / "w.csv").triads == (0, 0)
