"""Nulls keep what they say, and comparisons find a difference that is there and no other."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sparse_engine.connectome import (
    NULLS,
    SameDegrees,
    SameDegreesAndSigns,
    SameDegreesAndTypes,
    SameDensity,
    ShuffledWeights,
    WiringComparison,
    compare,
    from_table,
)
from sparse_engine.connectome.comparison import paired_difference

ALL = [*NULLS, SameDegreesAndTypes()]


@pytest.fixture(scope="module")
def brain():
    rng = np.random.default_rng(0)
    pre, post = rng.integers(60, size=(2, 500))
    neurons = pd.DataFrame({"id": np.arange(60), "type": rng.choice([*"abc"], 60)})
    sign = np.where(pre % 4 == 0, -1, 1)
    return from_table(pre, post, rng.integers(1, 50, 500), sign=sign, neurons=neurons)


@pytest.mark.parametrize("null", ALL, ids=repr)
def test_all_nulls_keep_numbers_and_signs_and_follow_from_the_seed(null, brain):
    one, again, other = (null.draw(brain, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one.links(), again.links())
    assert not one.links().equals(other.links())
    assert not one.links().equals(brain.links())
    numbers = [sorted(zip(each.count, each.sign, strict=True)) for each in (one, brain)]
    assert numbers[0] == numbers[1]
    assert one.neurons is not None and one.neurons.equals(brain.neurons)


def degrees(brain, by):
    """Numbers of links of each neuron, and of the groups of links that ``by`` says."""
    links = brain.links()
    links["types"] = (links["pre"].map(brain.neurons["type"])
                      + links["post"].map(brain.neurons["type"]))  # fmt: skip
    return [links.value_counts([end, *by]).sort_index() for end in ("pre", "post")]


KEPT = [
    (SameDegrees(), []),
    (SameDegreesAndSigns(), ["sign"]),
    (SameDegreesAndTypes(), ["types", "sign"]),
    (ShuffledWeights(), ["sign", "types"]),
]


@pytest.mark.parametrize("null, by", KEPT, ids=lambda each: repr(each))
def test_degrees_that_are_kept(null, by, brain):
    for one, two in zip(degrees(brain, by), degrees(null.draw(brain, 3), by), strict=True):
        pd.testing.assert_series_equal(one, two)


def test_what_nulls_do_not_keep(brain):
    """Each null is less than the next: what the next keeps changes."""
    for null, by in ((SameDensity(), []), (SameDegrees(), ["sign"]),
                     (SameDegreesAndSigns(), ["types"])):  # fmt: skip
        kept = zip(degrees(brain, by), degrees(null.draw(brain, 3), by), strict=True)
        assert not all(one.equals(two) for one, two in kept)
    links = ShuffledWeights().draw(brain, 3).links()
    assert links["pre"].equals(brain.links()["pre"])


def test_dales_law_holds_in_all_nulls_of_degrees(brain):
    for null in (SameDegrees(), SameDegreesAndSigns(), SameDegreesAndTypes()):
        assert (null.draw(brain, 0).neuron_signs() == brain.neuron_signs()).all()


@pytest.mark.parametrize("n", [3, 8, 12])
def test_the_sign_flip_test_is_exact(n):
    d = np.random.default_rng(n).normal(0.4, 1, n)
    flips = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    means = np.abs(flips @ d)
    found = paired_difference(d, np.zeros(n))
    assert found.p == pytest.approx((means >= np.abs(d.sum()) - 1e-12).mean())
    interval = stats.ttest_1samp(d, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.effect == pytest.approx(d.mean() / d.std(ddof=1))


def test_the_interval_of_the_effect_has_its_coverage():
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        found = paired_difference(random.normal(0.8, 1, 9), np.zeros(9))
        inside += found.effect_low <= 0.8 <= found.effect_high
    assert stats.binomtest(inside, 300, 0.95).pvalue > 0.001


def test_p_is_uniform_where_nothing_matters():
    random = np.random.default_rng(0)
    p = [paired_difference(*random.normal(size=(2, 10))).p for _ in range(300)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def reciprocity(wiring, seed):
    """A score that only degrees do not explain: the fraction of links that go both ways."""
    csr = wiring.csr().astype(bool).astype(float)
    noise = np.random.default_rng(seed).normal(0, 0.01)
    return (csr * csr.T).sum() / csr.sum() + noise


def test_a_planted_difference_is_found_and_no_other():
    random = np.random.default_rng(1)
    pre, post = random.integers(80, size=(2, 200))
    planted = from_table([*pre, *post], [*post, *pre], random.integers(1, 9, 400))
    found = compare(reciprocity, planted, nulls=[SameDegrees(), ShuffledWeights()], seeds=range(8))
    degrees, weights = found.differences()
    assert degrees.p == 2 / 2**8 and degrees.low > 0.5 and degrees.effect_low > 1
    assert weights.difference == 0 and weights.p == 1  # paired seeds: the noise is the same
    assert "SameDegrees()" in str(found)


def test_an_interrupted_comparison_goes_on(tmp_path, brain):
    done = []

    def build(wiring, seed):
        if len(done) == 9:
            raise KeyboardInterrupt
        done.append(seed)
        return reciprocity(wiring, seed)

    given = {"nulls": [SameDensity(), SameDegrees()], "seeds": range(6)}
    with pytest.raises(KeyboardInterrupt):
        compare(build, brain, **given, folder=tmp_path / "scores")
    whole = compare(reciprocity, brain, **given)
    counted = []
    again = compare(
        lambda *a: counted.append(a) or reciprocity(*a), brain, **given, folder=tmp_path / "scores"
    )
    assert len(counted) == 18 - 9
    assert {name: each.tolist() for name, each in again.scores.items()} == {
        name: each.tolist() for name, each in whole.scores.items()
    }
    with pytest.raises(ValueError, match="those of another"):
        compare(build, SameDensity().draw(brain, 0), **given, folder=tmp_path / "scores")


def test_too_few_seeds_and_wrong_scores(brain):
    with pytest.warns(UserWarning, match=r"at least 6 seeds, found 3.*p = 0\.25"):
        found = compare(reciprocity, brain, nulls=[SameDensity()], seeds=range(3))
    assert isinstance(found, WiringComparison)
    with pytest.raises(ValueError, match="different seeds"):
        compare(reciprocity, brain, nulls=[], seeds=[1, 1])
    with pytest.raises(ValueError, match="finite score of connectome with seed 0"):
        compare(lambda *_: np.nan, brain, nulls=[], seeds=range(6))
    single = paired_difference([1.0], [0.0])
    assert np.isnan(single.low) and single.p == 1


def test_the_command_line(tmp_path, brain, capsys):
    from sparse_engine.connectome import write
    from sparse_engine.lab.cli import main

    write(brain, tmp_path / "brain.safetensors")
    (tmp_path / "task.py").write_text("def score(wiring, seed):\n    return wiring.nnz + seed\n")
    given = ["wiring", str(tmp_path / "brain.safetensors"), f"{tmp_path}/task.py:score"]
    options = ["--types", "type", "--seeds", "6", "--folder", str(tmp_path), "--plot"]
    assert main([*given, *options, str(tmp_path / "p.png")]) == 0
    out = capsys.readouterr().out
    assert "SameDegreesAndTypes(column='type')" in out and "ShuffledWeights()" in out
    assert (tmp_path / "p.png").stat().st_size > 1000 and (tmp_path / "scores.json").exists()
    assert main([*given[:2], "score"]) == 2
    assert "expected a function as file.py:name" in capsys.readouterr().err
    assert main([*given[:2], f"{tmp_path}/task.py:other"]) == 2
