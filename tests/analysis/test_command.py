"""``sparse-engine analyze``, as a user meets it."""

import json

import pytest
from scipy.sparse import random_array

from sparse_engine import convert
from sparse_engine.analysis import (
    ErdosRenyi,
    SignShuffle,
    null_model,
    structural_balance,
    triad_census,
)
from sparse_engine.cli import main


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "one.csv", tmp_path / "two.tsv"]
    for seed, path in enumerate(paths):
        w = random_array((20, 20), density=0.3, format="csr", rng=seed)
        w.data -= 0.5
        convert.write_edge_list(convert.from_scipy(w), path)
    return paths


def test_tables(files, capsys):
    assert main(["analyze", *map(str, files), "--null", "sign-shuffle", "--samples", "20"]) == 0
    out = capsys.readouterr().out
    for file in files:
        assert f"{file}\n\n{structural_balance(file)}\n\n" in out
        assert str(null_model(file, kind=SignShuffle(), n=20)) in out
        for name, count in triad_census(file).items():
            assert f"{name:>6}{count:>16,}" in out


def test_json(files, capsys):
    options = ("--null", "erdos-renyi", "--samples", "20", "--seed", "3", "--json")
    assert main(["analyze", *map(str, files), *options]) == 0
    assert json.loads(capsys.readouterr().out) == {
        str(file): {
            "balance": structural_balance(file).to_dict(),
            "census": triad_census(file),
            "null": null_model(file, kind=ErdosRenyi(), n=20, seed=3).to_dict(),
        }
        for file in files
    }


def test_without_a_null_model(files, capsys):
    assert main(["analyze", str(files[0]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[str(files[0])].keys() == {"balance", "census"}


def test_what_cannot_be_read_is_one_line(tmp_path, capsys):
    assert main(["analyze", str(tmp_path / "absent.csv")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sparse-engine: ") and "absent.csv" in line
