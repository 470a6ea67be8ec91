"""The commands analyze and distance on every kind of file, and files that they cannot use."""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fresh_process import run_script
from safetensors.torch import save_file
from scipy.sparse import csr_array, random_array, save_npz
from testing import random_pattern

from sparse_engine import convert
from sparse_engine.analysis import (
    ErdosRenyiNull,
    RecurrentLayer,
    distance_matrix,
    feed_forward_loops,
    null_model,
    signed_triad_census,
    structural_balance,
    summarize,
    topology_distance,
    triad_census,
    write_fanmod,
)
from sparse_engine.lab.cli import main
from sparse_engine.lab.train import read_weights
from sparse_engine.nn import GroupedWeight, SparseGRU, SparseRNN


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys):
    """The one line that a user sees when a command cannot be done."""

    def check(*arguments):
        assert main([*map(str, arguments)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("sparse-engine: ")
        return line

    return check


@pytest.fixture
def answer(capsys):
    """What a command prints as JSON."""

    def run(*arguments):
        assert main([*map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def graph(seed=0, n=20):
    w = random_array((n, n), density=0.3, format="csr", rng=seed)
    w.data -= 0.5
    return w


def write(path, w):
    if path.endswith(".npz"):
        save_npz(path, w)
    else:
        convert.write_edge_list(convert.from_scipy(w), path)
    return path


def test_analyses_are_those_of_the_functions(answer, capsys):
    files = [write("one.csv", graph(0)), write("two.tsv", graph(1))]
    options = ("--null", "erdos-renyi", "--samples", "20", "--seed", "3")
    assert answer("analyze", *files, *options) == {
        file: {
            "structure": summarize(file).to_dict(),
            "balance": structural_balance(file).to_dict(),
            "census": triad_census(file),
            "signed_census": signed_triad_census(file),
            "feed_forward_loops": feed_forward_loops(file),
            "null": null_model(file, kind=ErdosRenyiNull(), n=20, seed=3).to_dict(),
        }
        for file in files
    }
    assert main(["analyze", *files, "--plot", "picture.png", "--nodes", "25"]) == 0
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "two.tsv\n\n" in out and re.search(r"^nodes +25$", out, re.MULTILINE)


@pytest.mark.parametrize("name", ["zeros.npz", "zeros.csv"])
def test_links_of_zero_can_be_left_out(answer, name):
    w = graph()
    w.data[::4] = 0
    write(name, w)
    with_zeros = structural_balance(w).to_dict()
    w.eliminate_zeros()
    without = structural_balance(w).to_dict()
    assert answer("analyze", name)[name]["balance"] == with_zeros != without
    assert answer("analyze", name, "--without-zeros")[name]["balance"] == without


SAVED = {
    "model.safetensors": save_file,
    "model.pt": torch.save,
    "last.ckpt": lambda state, path: torch.save({"epoch": 3, "state_dict": state}, path),
}


@pytest.mark.parametrize("name", SAVED)
def test_state_dicts(name, answer, refused):
    """Each recurrent weight by its name; the gates of a GRU are no graph."""
    rnn = SparseRNN(3, 20, num_layers=2, density=0.3)
    wiring = rnn.weight_hh_l1
    group = torch.zeros(wiring.nnz, dtype=torch.int64)
    rnn.weight_hh_l1 = GroupedWeight(wiring.values, wiring.pattern, group)
    SAVED[name](rnn.state_dict(), name)
    records = answer("analyze", name)
    for weight in ("weight_hh_l0", "weight_hh_l1"):
        expected = signed_triad_census(getattr(rnn, weight))
        assert records[f"{name}:{weight}"]["signed_census"] == expected
    models = [SparseGRU(12, 16, num_layers=2, density=0.2, input_density=0.4) for _ in range(2)]
    SAVED[name](models[0].state_dict(), name)
    assert "expected a square weight" in refused("analyze", name)
    assert topology_distance(read_weights(name), models[1]) == topology_distance(*models)
    files = ["one.safetensors", "other.safetensors"]
    for file, model in zip(files, models, strict=True):
        save_file(model.state_dict(), file)
    layers = answer("distance", *files)["layers"]
    assert [layer[0][1] for layer in layers] == topology_distance(*models)


def test_run_folders(answer, capsys, refused, tmp_path):
    small = ("--hidden", "16", "--density", "0.3", "--steps", "2", "--every", "1")
    assert main(["train", "mackey-glass", *small, "--threads", "1", "--out", "run"]) == 0
    capsys.readouterr()
    (record,) = answer("analyze", "run").values()
    assert record["structure"]["nodes"] == 16
    (file,) = tmp_path.glob("run/checkpoint-*.safetensors")
    assert [*answer("analyze", file).values()] == [record]
    assert answer("distance", "run", file)["layers"] == [[[0, 0], [0, 0]]]
    assert "the folder of a run, found no checkpoint" in refused("analyze", tmp_path)


class Hostile:
    def __reduce__(self):
        return open, ("ran", "w")


def test_no_code_of_a_pickle_is_run(refused, tmp_path):
    for saved in (SparseRNN(3, 20, density=0.3), {"weight": Hostile()}):
        torch.save(saved, "model.pt")
        assert "as torch.save(model.state_dict(), path) writes it" in refused("analyze", "model.pt")
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def networks(tmp_path):
    """Three of two layers in folders a, b and c, whose rows are inputs, the last of them biases."""
    made = {}
    for k, name in enumerate("abc"):
        (tmp_path / name).mkdir()
        made[name] = [
            random_array(shape, density=0.3, format="csr", rng=10 * k + layer)
            for layer, shape in enumerate([(13, 20), (21, 8)])
        ]
        for number, layer in enumerate(made[name]):
            save_npz(tmp_path / name / f"layer{number}.npz", layer)
    return made


def test_distances_are_those_of_the_functions(networks, answer, capsys):
    options = ("--inputs-as-rows", "--bias", "leave-out", "--plot", "matrix.png")
    matrix = distance_matrix([[w[:-1].T.tocsr() for w in net] for net in networks.values()])
    expected = {"networks": [*networks], "layers": matrix.tolist(), "mean": matrix.mean(0).tolist()}
    assert answer("distance", *networks, *options) == expected
    assert Path("matrix.png").read_bytes().startswith(b"\x89PNG")
    assert main(["distance", *networks, *options[:3]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["2", *(f"{x:.4f}" for x in matrix.mean(0)[2])]
    options = ("--inputs-as-rows", "--bias", "keep", "--keep-outputs")
    found = [layer[0][1] for layer in answer("distance", "a", "b", *options)["layers"]]
    nets = [[w.T.tocsr() for w in networks[name]] for name in "ab"]
    assert found == topology_distance(*nets, constant_inputs=1, match_last=False)


def test_distances_of_edge_lists(answer):
    weights = [graph(0, 30), csr_array(graph(1, 30)[:28, :28])]
    files = [write("one.csv", weights[0]), write("two.tsv", weights[1])]
    weights[1].resize(weights[0].shape)
    for flags, layers in (((), weights), (("--recurrent",), [*map(RecurrentLayer, weights)])):
        (expected,) = topology_distance(layers[:1], layers[1:])
        assert answer("distance", *files, *flags)["layers"][0][0][1] == expected


def test_colours_of_fanmod_are_not_taken_for_weights(answer, refused, capsys):
    w = graph()
    write_fanmod(w, "w.txt")
    assert "--format fanmod" in refused("analyze", "w.txt")
    found = answer("analyze", "w.txt", "--format", "fanmod")["w.txt"]["balance"]
    assert found == structural_balance(w).to_dict()
    (read,) = read_weights("w.txt", format="fanmod").values()
    assert structural_balance(read) == structural_balance(w)
    assert main(["analyze", "w.txt", "--format", "edges"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sparse-engine: warning: no link of w.txt is negative")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("analyze nothing.csv", "nothing.csv"),
        ("resume nothing.csv", "nothing.csv"),
        ("watch nothing.csv", "nothing.csv"),
        ("analyze few.txt --samples 1", "--samples of at least 2, found 1"),
        ("analyze few.txt --seed -1", "--seed of at least 0, found -1"),
        ("analyze binary.csv", "expected an edge list in binary.csv, found no text"),
        ("analyze infinite.csv", "expected finite weights, found inf in line 2 of infinite.csv"),
        ("analyze infinite.npz", "expected finite values, found inf at link 3"),
        ("analyze model.safetensors --nodes 9", "for edge lists only"),
        ("analyze model.safetensors --format edges", "for edge lists only"),
        ("analyze far.txt", "below 10,000,000 with 1 links, found 2000000000 in line 1 of far.txt"),
        ("analyze far.txt --nodes -1", "nodes in [0, 2^31), found -1"),
        ("distance far.txt few.txt --nodes 3", "found 2000000000 at position 0"),
        ("distance a", "at least two networks, found 1"),
        ("distance a absent.npz", "absent.npz"),
        ("distance a wrong.npz", "npz file of SciPy"),
        ("distance a nothing", "npz files or edge lists in"),
        ("distance a a/layer0.npz", "as many layers, found 2 and 1"),
    ],
)
@pytest.mark.usefixtures("networks")
def test_what_cannot_be_done_is_one_line(refused, tmp_path, command, message):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "wrong.npz").write_bytes(b"PK not a zip file")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "far.txt").write_text("0\t2000000000\n")
    (tmp_path / "few.txt").write_text("0\t1\n")
    (tmp_path / "infinite.csv").write_text("Id,Source,Target,Weight\n0,0,1,inf\n")
    infinite = graph()
    infinite.data[3] = np.inf
    save_npz("infinite.npz", infinite)
    save_file(plain(), "model.safetensors")
    line = refused(*command.split())
    assert message in line and "Errno" not in line and len(line) < 300


def plain():
    return SparseRNN(2, 8, density=0.3).state_dict()


def grouped():
    rnn = SparseRNN(2, 8, density=0.3)
    rnn.weight_hh_l0 = GroupedWeight(torch.randn(20), random_pattern(8, 8, 20))
    return rnn.state_dict()


FAR, HUGE = torch.full((19,), 2_000_000_000), torch.from_numpy(np.full(19, 2**64 - 1, np.uint64))
HOLD = "expected col_indices that torch.int64 can hold, found 18446744073709551615"
STATES = [
    (plain, "col_indices", None, "expected an entry col_indices, found none"),
    (plain, "values", None, "expected an entry base, found none"),
    (plain, "crow_indices", torch.tensor(3), "found shape []"),
    (plain, "crow_indices", torch.zeros(0).long(), "at least one row"),
    (plain, "crow_indices", torch.full((9,), torch.inf), "found torch.float32"),
    (plain, "col_indices", torch.zeros(2, 2).long(), "found shape [2, 2]"),
    (plain, "col_indices", HUGE, HOLD),
    (plain, "col_indices", FAR, "columns below 10,000,000 with 19 links"),
    (plain, "values", torch.ones(19).bfloat16(), "found torch.bfloat16"),
    (plain, "values", torch.ones(19) * 1j, "found torch.complex64"),
    (plain, "values", torch.ones(19).to(torch.uint64), "found torch.uint64"),
    (grouped, "group", torch.full((20,), 7), "expected group in [0, 1), found 7"),
    (grouped, "group", torch.full((20,), -1), "in [0, 1), found -1"),
    (grouped, "gain", torch.ones(1, 1), "found shape [1, 1]"),
    (grouped, "base", torch.ones(3), "expected floating-point values of shape"),
]


@pytest.mark.parametrize(("state", "name", "entry", "message"), STATES, ids=range(len(STATES)))
def test_damaged_state_dicts(refused, state, name, entry, message):
    entries = {key: each.clone() for key, each in state().items()} | {f"weight_hh_l0.{name}": entry}
    entries = {key: each for key, each in entries.items() if each is not None}
    save_file(entries, "model.safetensors")
    for command in (["analyze"], ["distance", "model.safetensors"]):
        line = refused(*command, "model.safetensors")
        assert message in line and "model.safetensors" in line


def test_memory_that_is_not_there(tmp_path):
    """Within 4 GB of address space beyond what the libraries take."""
    (tmp_path / "w.txt").write_text("0\t2000000000\n")
    code = """
import resource, sys
from sparse_engine.lab.cli import main
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**32,) * 2)
for command in (
    ["analyze", "w.txt", "--nodes", "2000000001"],
    ["train", "mackey-glass", "--hidden", "2000000000", "--density", "1e-18", "--out", "run"],
):
    assert main(command) == 2
"""
    done = run_script(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    of_file, of_run = done.stderr.splitlines()
    weight = "a 2000000001 x 2000000001 weight of w.txt"
    assert of_file.startswith(f"sparse-engine: expected memory for {weight}, found too little for ")
    assert "expected links and states that fit into" in of_run
    assert "found 2,000,000,000 units" in of_run


@pytest.mark.parametrize("command", [["info"], ["--help"], ["distance", "w.txt", "w.txt"]])
def test_a_closed_pipe(refused, monkeypatch, command):
    """A closed pipe, as of ``sparse-engine info | true``."""
    write("w.txt", graph())
    read, pipe = os.pipe()
    os.close(read)
    # What is left in its buffer when it is closed, as at exit, would raise once more.
    with open(pipe, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        line = refused(*command)
    assert line == "sparse-engine: expected a reader of the output, found its pipe closed"
