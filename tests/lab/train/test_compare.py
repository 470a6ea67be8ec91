"""Comparisons of runs that were written by hand, and paired tests against SciPy's."""

import json

import numpy as np
import pytest
from lab.train.written_runs import write
from scipy import stats
from testing import refusals

from sparse_engine.lab.train import compare, read_runs
from sparse_engine.lab.train.compare import holm, paired_test


@pytest.fixture
def folder(tmp_path):
    """Three methods with three seeds, and a run that is not finished."""
    generator = np.random.default_rng(0)
    for shift, method in enumerate(("static", "set", "rigl")):
        for seed in range(3):
            test = generator.uniform(0.5, 0.6, 3) + 0.1 * shift
            write(
                tmp_path / method / str(seed),
                [0.2, 0.6 + 0.01 * seed, 0.4],
                test.round(3).tolist(),
                seconds=seed + 1,
                method=method,
                seed=seed,
            )
    write(tmp_path / "late", [0.9], [0.9], method="set", seed=9)
    return tmp_path


def best(folder, method):
    """The test accuracies at the best validation accuracy, which is that of step 20."""
    lines = [
        (folder / method / str(k) / "metrics.jsonl").read_text().splitlines() for k in range(3)
    ]
    return [json.loads(each[1])["test"]["accuracy"] for each in lines]


def test_the_test_metric_is_that_of_the_best_validation_metric(folder):
    found = compare(read_runs([folder / name for name in ("static", "set", "rigl", "late")]))
    assert [group.name for group in found.groups] == ["static", "set", "rigl"]
    for group, row in zip(found.groups, found.rows(), strict=True):
        expected = best(folder, group.name)
        assert row["values"] == dict(zip("012", expected, strict=True))
        assert row["mean"] == pytest.approx(np.mean(expected))
        assert row["sd"] == pytest.approx(np.std(expected, ddof=1))
        assert row["validation"] == pytest.approx(0.61)
        assert row["n"] == 3 and row["links"] == 7 and row["seconds"] == 2
    assert [run.folder.name for run in found.unfinished] == ["late"]


def test_the_last_evaluation_counts_where_it_is_asked_for(folder):
    entries = (folder / "set/0/metrics.jsonl").read_text().splitlines()
    last = json.loads(entries[2]) | {"nnz": 8}
    (folder / "set/0/metrics.jsonl").write_text("\n".join([*entries[:2], json.dumps(last)]) + "\n")
    runs = read_runs([folder / "set"])
    (best,), (end,) = (compare(runs, at=at).groups for at in ("best", "last"))
    assert best.links == 7 and end.links == (8 + 7 + 7) / 3
    assert end.values[0] == last["test"]["accuracy"] != best.values[0]


def test_groups_are_compared_with_the_baseline_by_seed(folder):
    found = compare(read_runs([folder]), baseline="static")
    assert [group.name for group in found.groups] == ["rigl", "set", "static"]
    rows = {row["group"]: row for row in found.rows()}
    assert "t_p" not in rows["static"]
    tests = [paired_test(best(folder, name), best(folder, "static")) for name in ("rigl", "set")]
    corrected = holm([test.t_p for test in tests])
    for name, test, p in zip(("rigl", "set"), tests, corrected, strict=True):
        assert rows[name]["difference"] == test.difference and rows[name]["pairs"] == 3
        assert (rows[name]["t_p"], rows[name]["t_p_holm"]) == (test.t_p, p)
        assert rows[name]["interval"] == [test.low, test.high]


def test_a_metric_that_is_not_finite_has_no_test(folder):
    write(folder / "dsr", [0.1] * 3, [float("inf")] * 3, method="dsr", seed=1)
    found = compare(read_runs([folder]), baseline="static")
    assert found.tests.keys() == {"set", "rigl"} and "inf" in found.text()


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([{"density": 0.1}], ["set"]),
        ([{"density": 0.1}, {"density": 0.2}], ["density=0.1", "density=0.2"]),
        ([{"density": 0.1}, {"density": 0.2, "method": "rigl"}], ["set", "rigl"]),
        (
            [{"cell": "lstm"}, {"density": 0.1}, {"density": 0.2}],
            ["lstm", "rnn density=0.1", "rnn density=0.2"],
        ),
        ([{"cell": "lstm"}, {"method": "rigl"}], ["set lstm", "rigl rnn"]),
    ],
)
def test_groups_are_named_by_what_tells_them_apart(settings, names, tmp_path):
    for number, each in enumerate(settings):
        write(tmp_path / str(number), [0.1] * 3, [0.1] * 3, **each)
    groups = compare(read_runs([tmp_path])).groups
    assert [group.name for group in groups] == names
    assert groups[0].sd is None and groups[0].seconds is None


def test_curves_have_the_steps_of_all_runs(folder):
    write(folder / "set" / "short", [0.5, 0.4], [0.5, 0.5], method="set", seed=5, patience=1)
    groups = {group.name: group for group in compare(read_runs([folder])).groups}
    # Patience is a setting, so that the run is a group of its own.
    assert groups.keys() == {"set patience=1", "set patience=0", "rigl", "static"}
    steps, metrics = groups["set patience=1"].curves()
    assert steps.tolist() == [10, 20] and metrics.tolist() == [[0.5, 0.4]]
    steps, metrics = groups["set patience=0"].curves()
    assert metrics.shape == (3, 3) and metrics[:, 1].tolist() == [0.6, 0.61, 0.62]


@pytest.mark.parametrize(
    ("change", "options", "found"),
    [
        (lambda f: None, {"baseline": "sets"}, r"baseline of \['rigl', 'set', 'static'\]"),
        (lambda f: None, {"split": "train"}, r"split of \['validation', 'test'\], found 'train'"),
        (lambda f: write(f / "x", [0.1] * 3, [0.1] * 3, method="set"), {}, "found seed 0 in .*x"),
        (
            lambda f: write(f / "x", [1], [1], task="adding"),
            {},
            "one task, found .'adding', 'digit",
        ),
        (lambda f: (f / "set/1/config.json").write_text("{"), {}, "settings of a run in"),
        (lambda f: (f / "set/1/config.json").write_text('{"task": 3}'), {}, "settings of a run"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(folder, change, options, found):
    change(folder)
    with pytest.raises(ValueError, match=found):
        compare(read_runs([folder]), **options)


def test_a_path_without_runs_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"found no run in .*nothing"):
        read_runs([tmp_path / "nothing"])
    with pytest.raises(ValueError, match="expected finished runs, found none among 0"):
        compare([])


A = np.random.default_rng(1).normal(size=8)
B = A - 0.4 + 0.3 * np.random.default_rng(2).normal(size=8)


def test_a_paired_test_equals_scipy():
    found = paired_test(A, B)
    t = stats.ttest_rel(A, B)
    assert found.n == 8 and found.difference == pytest.approx((A - B).mean())
    assert found.t_p == pytest.approx(t.pvalue)
    assert (found.low, found.high) == pytest.approx(t.confidence_interval())
    assert found.low < found.difference < found.high
    assert found.rank_test == "wilcoxon"
    assert found.rank_p == pytest.approx(stats.wilcoxon(A - B, method="exact").pvalue)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], 2 / 2**5),  # few
        ([0.1, 0.2, 0.3, 0.4, 0.5, -0.5], 2 * 7 / 2**6),  # a tie
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0], 2 / 2**6),  # a zero, which does not count
        ([0.0, 0.0], None),
    ],
)
def test_the_sign_test_takes_over(differences, p):
    found = paired_test(differences, [0.0] * len(differences))
    assert found.rank_test == "sign" and found.rank_p == (p and pytest.approx(p))


def test_equal_differences_have_no_spread_to_test_by():
    same, shifted, single = (
        paired_test(*x) for x in [([1, 2], [1, 2]), ([2, 3], [1, 2]), ([1], [0])]
    )
    assert same.t_p == 1 and shifted.t_p is None and single.t_p is None
    assert shifted.difference == 1 and shifted.low is None and single.rank_p == 1


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


test_what_is_no_pair_is_refused = refusals(
    ("pairs", lambda: paired_test([], [])),
    (r"\[2\] and \[1\]", lambda: paired_test([1, 2], [1])),
    ("finite", lambda: paired_test([1, np.nan], [1, 2])),
)
