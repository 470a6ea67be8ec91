"""``sparse-engine distance``, as a user meets it."""

import json

import pytest
from safetensors.torch import save_file
from scipy.sparse import csr_array, random_array, save_npz

from sparse_engine import convert
from sparse_engine.analysis import RecurrentLayer, distance_matrix, topology_distance
from sparse_engine.lab.cli import main
from sparse_engine.lab.train import read_weights
from sparse_engine.nn import SparseGRU

OPTIONS = ("--inputs-as-rows", "--bias", "leave-out")


@pytest.fixture
def networks():
    """Three of two layers, whose rows are inputs, the last of them biases."""
    return [
        [
            random_array(shape, density=0.3, format="csr", rng=10 * k + layer)
            for layer, shape in enumerate([(13, 20), (21, 8)])
        ]
        for k in range(3)
    ]


@pytest.fixture
def folders(networks, tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path, network in zip(paths, networks, strict=True):
        path.mkdir()
        for number, layer in enumerate(network):
            save_npz(path / f"layer{number}.npz", layer)
    return paths


def units_as_rows(network, *, bias):
    return [layer.T.tocsr() if bias else layer[:-1].T.tocsr() for layer in network]


def test_all_pairs(folders, networks, capsys, tmp_path):
    picture = tmp_path / "matrix.png"
    paths = [*map(str, folders)]
    assert main(["distance", *paths, *OPTIONS, "--json", "--plot", str(picture)]) == 0
    matrix = distance_matrix([units_as_rows(net, bias=False) for net in networks])
    assert json.loads(capsys.readouterr().out) == {
        "networks": paths,
        "layers": matrix.tolist(),
        "mean": matrix.mean(0).tolist(),
    }
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["distance", *paths, *OPTIONS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["2", *(f"{x:.4f}" for x in matrix.mean(0)[2])]


def test_options_are_those_of_the_function(folders, networks, capsys):
    paths = [*map(str, folders[:2])]
    options = ("--inputs-as-rows", "--bias", "keep", "--keep-outputs", "--json")
    assert main(["distance", *paths, *options]) == 0
    nets = [units_as_rows(net, bias=True) for net in networks[:2]]
    expected = topology_distance(*nets, constant_inputs=1, match_last=False)
    found = [layer[0][1] for layer in json.loads(capsys.readouterr().out)["layers"]]
    assert found == expected


def test_edge_lists(tmp_path, capsys):
    weights = [random_array((30, 30), density=0.1, format="csr", rng=k) for k in range(2)]
    weights[1] = csr_array(weights[1][:28, :28])
    paths = [tmp_path / "one.csv", tmp_path / "two.tsv"]
    for path, w in zip(paths, weights, strict=True):
        convert.write_edge_list(convert.from_scipy(w), path)
    weights[1].resize(weights[0].shape)
    for flags, layers in (([], weights), (["--recurrent"], [*map(RecurrentLayer, weights)])):
        assert main(["distance", *map(str, paths), *flags]) == 0
        (expected,) = topology_distance(layers[:1], layers[1:])
        assert f"layer 0 {expected:16.6f}" in capsys.readouterr().out


def test_state_dicts(tmp_path, capsys):
    """A weight_hh and its weight_ih are one layer, as in a module."""
    models = [SparseGRU(12, 16, num_layers=2, density=0.2, input_density=0.4) for _ in range(2)]
    paths = [tmp_path / "one.safetensors", tmp_path / "other.safetensors"]
    for model, path in zip(models, paths, strict=True):
        save_file(model.state_dict(), path)
    expected = topology_distance(*models)
    assert topology_distance(*map(read_weights, paths)) == expected
    assert main(["distance", *map(str, paths)]) == 0
    values = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    assert values == [f"{x:.6f}" for x in (*expected, sum(expected) / 2)]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a"], "at least two networks, found 1"),
        (["a", "absent.npz"], "absent.npz"),
        (["a", "wrong.npz"], "npz file of SciPy"),
        (["a", "nothing"], "npz files or edge lists in"),
        (["a", "a/layer0.npz"], "as many layers, found 2 and 1"),
    ],
)
def test_what_cannot_be_compared_is_one_line(folders, tmp_path, capsys, paths, message):
    (tmp_path / "wrong.npz").write_bytes(b"PK not a zip file")
    (tmp_path / "nothing").mkdir()
    assert main(["distance", *(str(tmp_path / path) for path in paths)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sparse-engine: ") and message in line
