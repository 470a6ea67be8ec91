"""``sparse-engine analyze``, as a user meets it."""

import json

import pytest
import torch
from safetensors.torch import save_file
from scipy.sparse import random_array, save_npz

from sparse_engine import convert
from sparse_engine.analysis import (
    ErdosRenyiNull,
    feed_forward_loops,
    null_model,
    signed_triad_census,
    structural_balance,
    summarize,
    triad_census,
)
from sparse_engine.lab.cli import main
from sparse_engine.nn import GroupedWeight, SparseGRU, SparseRNN


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "one.csv", tmp_path / "two.tsv"]
    for seed, path in enumerate(paths):
        w = random_array((20, 20), density=0.3, format="csr", rng=seed)
        w.data -= 0.5
        convert.write_edge_list(convert.from_scipy(w), path)
    return paths


def test_json(files, capsys):
    options = ("--null", "erdos-renyi", "--samples", "20", "--seed", "3", "--json")
    assert main(["analyze", *map(str, files), *options]) == 0
    assert json.loads(capsys.readouterr().out) == {
        str(file): {
            "structure": summarize(file).to_dict(),
            "balance": structural_balance(file).to_dict(),
            "census": triad_census(file),
            "signed_census": signed_triad_census(file),
            "feed_forward_loops": feed_forward_loops(file),
            "null": null_model(file, kind=ErdosRenyiNull(), n=20, seed=3).to_dict(),
        }
        for file in files
    }


def analyzed(capsys, path):
    assert main(["analyze", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["zeros.npz", "zeros.csv"])
def test_links_of_zero_can_be_left_out(files, tmp_path, capsys, name):
    w = convert.to_scipy(convert.read_edge_list(files[0]))
    w.data[::4] = 0
    path = tmp_path / name
    save_npz(path, w) if path.suffix == ".npz" else convert.write_edge_list(
        convert.from_scipy(w), path
    )
    balance = structural_balance(w).to_dict()
    w.eliminate_zeros()
    assert structural_balance(w).to_dict() != balance
    for options, expected in ((), balance), (("--without-zeros",), structural_balance(w).to_dict()):
        assert main(["analyze", str(path), "--json", *options]) == 0
        assert json.loads(capsys.readouterr().out)[str(path)]["balance"] == expected


def save_checkpoint(state, path):
    torch.save({"epoch": 3, "state_dict": state}, path)


SAVED = {"model.safetensors": save_file, "model.pt": torch.save, "last.ckpt": save_checkpoint}


@pytest.mark.parametrize("name", SAVED)
def test_state_dicts(name, tmp_path, capsys):
    """Each recurrent weight by its name; the gates of a GRU are no graph."""
    path, save = tmp_path / name, SAVED[name]
    rnn = SparseRNN(3, 20, num_layers=2, density=0.3)
    wiring = rnn.weight_hh_l1
    group = torch.zeros(wiring.nnz, dtype=torch.int64)
    rnn.weight_hh_l1 = GroupedWeight(wiring.values, wiring.pattern, group)
    save(rnn.state_dict(), path)
    records = analyzed(capsys, path)
    for name in ("weight_hh_l0", "weight_hh_l1"):
        expected = signed_triad_census(getattr(rnn, name))
        assert records[f"{path}:{name}"]["signed_census"] == expected
    save(SparseGRU(3, 20, density=0.3).state_dict(), path)
    assert main(["analyze", str(path)]) == 2
    assert "expected a square weight" in capsys.readouterr().err


def test_run_folders(tmp_path, capsys):
    out = tmp_path / "run"
    small = ("--hidden", "16", "--density", "0.3", "--steps", "2", "--every", "1")
    assert main(["train", "mackey-glass", *small, "--threads", "1", "--out", str(out)]) == 0
    capsys.readouterr()
    (record,) = analyzed(capsys, out).values()
    assert record["structure"]["nodes"] == 16
    (file,) = out.glob("checkpoint-*.safetensors")
    assert [*analyzed(capsys, file).values()] == [record]


def test_a_picture(files, tmp_path):
    path = tmp_path / "picture.png"
    assert main(["analyze", *map(str, files), "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


class Hostile:
    def __reduce__(self):
        return open, ("ran", "w")


def test_no_code_of_a_pickle_is_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for saved in (SparseRNN(3, 20, density=0.3), {"weight": Hostile()}):
        torch.save(saved, "model.pt")
        assert main(["analyze", "model.pt"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "as torch.save(model.state_dict(), path) writes it" in line
    assert not (tmp_path / "ran").exists()


def test_wrong_arguments_are_named(files, tmp_path, capsys):
    for arguments, message in [
        ([str(tmp_path)], f"expected the folder of a run, found no checkpoint in {tmp_path}"),
        ([str(files[0]), "--samples", "1"], "expected --samples of at least 2, found 1"),
        ([str(files[0]), "--seed", "-1"], "expected --seed of at least 0, found -1"),
    ]:
        assert main(["analyze", *arguments]) == 2
        assert capsys.readouterr().err.splitlines() == [f"sparse-engine: {message}"]
