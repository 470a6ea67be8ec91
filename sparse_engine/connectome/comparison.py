"""Whether the wiring matters: scores of a connectome and of its nulls, with paired seeds."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import special, stats
from tqdm.auto import tqdm

from sparse_engine.connectome.nulls import Null
from sparse_engine.connectome.table import Connectome
from sparse_engine.files import write_atomically

#: Fewest seeds with which the sign-flip test can reach p < 0.05, as 2 / 2^6 is below it.
FEWEST_SEEDS = 6
#: Most seeds for which all flips of signs are tried; more are sampled.
MOST_EXACT = 16


@dataclass(frozen=True)
class Difference:
    """How far the scores of the connectome are from those of a null, over paired seeds.

    Attributes:
        null: the null.
        n: number of seeds.
        difference: mean of ``score of the connectome - score of the null``.
        low: lower end of the 95 % confidence interval of the mean, by the t distribution.
        high: upper end of it.
        p: two-sided p-value of the sign-flip test: the fraction of all ways to flip the signs of
            the differences whose mean is at least as far from 0. Exact up to 16 seeds.
        effect: mean over standard deviation of the differences (Cohen's d of pairs); nan where all
            differences are equal.
        effect_low: lower end of its 95 % confidence interval, by the noncentral t distribution.
        effect_high: upper end of it.
    """

    null: str
    n: int
    difference: float
    low: float
    high: float
    p: float
    effect: float
    effect_low: float
    effect_high: float


@dataclass(frozen=True)
class WiringComparison:
    """Scores of a connectome and of its nulls, by seed.

    Attributes:
        seeds: the seeds.
        scores: scores ``[seeds]`` of "connectome" and of each null, in the order of the nulls.
    """

    seeds: tuple[int, ...]
    scores: dict[str, np.ndarray]

    def differences(self) -> list[Difference]:
        """Return the difference to each null. P-values are not corrected for their number."""
        real, *nulls = self.scores
        return [paired_difference(self.scores[real], self.scores[each], each) for each in nulls]

    def __str__(self) -> str:
        """Return a table."""
        lines = [f"{'null':24} {'difference':>10} {'95 % interval':>20} {'effect':>7} {'p':>7}"]
        for each in self.differences():
            interval = f"[{each.low:.4g}, {each.high:.4g}]"
            lines.append(
                f"{each.null:24} {each.difference:10.4g} {interval:>20} {each.effect:7.2f} "
                f"{each.p:7.4f}"
            )
        return "\n".join(lines)


def compare(
    build: Callable[[Connectome, int], float],
    connectome: Connectome,
    *,
    nulls: Sequence[Null],
    seeds: Sequence[int] = range(10),
    folder: str | Path | None = None,
) -> WiringComparison:
    """Score a connectome and random ones that share some of its properties.

    Nulls that keep more and more say which property matters: where the connectome is no better than
    the null that keeps degrees and types, its degrees and types are enough.

    Args:
        build: ``build(connectome, seed)`` builds a network, trains it or only a readout, and
            returns its score. Everything random has to follow from the seed: the connectome and
            all nulls get the same seeds, and their scores are compared pair by pair.
        connectome: the real wiring.
        nulls: the nulls, such as :class:`SameDegrees`; a null's random connectome is drawn anew for
            each seed.
        seeds: the seeds. With fewer than six no difference reaches p < 0.05.
        folder: where scores are kept; a comparison that was interrupted goes on from there.

    Raises:
        ValueError: no seeds, a seed or null twice, a score that is not finite, or a folder with the
            scores of another connectome.

    Example:
        >>> nulls = [SameDensity(), SameDegrees(), SameDegreesAndTypes("type")]
        >>> print(compare(memory, larva, nulls=nulls, seeds=range(10), folder="memory"))
    """
    names = ["connectome", *map(repr, nulls)]
    if not seeds or len({*seeds}) < len(seeds) or len({*names}) < len(names):
        raise ValueError(f"expected different seeds and nulls, found {[*seeds]} and {names[1:]}")
    if len(seeds) < FEWEST_SEEDS:
        warnings.warn(
            f"expected at least {FEWEST_SEEDS} seeds, found {len(seeds)}: the sign-flip test "
            f"cannot get below p = {2 / 2 ** len(seeds):.3g}",
            stacklevel=2,
        )
    kept = _Scores(None if folder is None else Path(folder), connectome)
    todo = [(seed, name) for seed in seeds for name in names if (name, seed) not in kept.scores]
    wirings = dict(zip(names[1:], nulls, strict=True))
    for seed, name in tqdm(todo, unit="run", leave=False, delay=1, disable=None):
        wiring = connectome if name == names[0] else wirings[name].draw(connectome, seed)
        score = float(build(wiring, seed))
        if not np.isfinite(score):
            raise ValueError(f"expected a finite score of {name} with seed {seed}, found {score}")
        kept.add(name, seed, score)
    scores = {name: np.array([kept.scores[name, seed] for seed in seeds]) for name in names}
    return WiringComparison(tuple(seeds), scores)


def paired_difference(first: np.ndarray, second: np.ndarray, null: str = "") -> Difference:
    """Return the difference of paired scores, ``first - second``; see :class:`Difference`."""
    d = np.asarray(first, float) - np.asarray(second, float)
    n, mean = len(d), float(d.mean())
    p = 1.0
    if d.any() and n > 1:
        flips = 2**n if n <= MOST_EXACT else 2**MOST_EXACT - 1
        p = float(
            stats.permutation_test(
                (d,), np.mean, permutation_type="samples", n_resamples=flips, vectorized=True,
                batch=2**12, rng=np.random.default_rng(0),
            ).pvalue
        )  # fmt: skip
    if n < 2 or np.ptp(d) == 0:
        interval = (np.nan, np.nan) if n < 2 else (mean, mean)
        return Difference(null, n, mean, *interval, p, np.nan, np.nan, np.nan)
    deviation = float(d.std(ddof=1))
    t = mean / deviation * n**0.5
    half = float(stats.t.ppf(0.975, n - 1)) * deviation / n**0.5
    low, high = (float(special.nctdtrinc(n - 1, q, t)) / n**0.5 for q in (0.975, 0.025))
    return Difference(null, n, mean, mean - half, mean + half, p, mean / deviation, low, high)


class _Scores:
    """Scores by name of the wiring and seed, in a file of a folder."""

    def __init__(self, folder: Path | None, connectome: Connectome) -> None:
        self.path = None if folder is None else folder / "scores.json"
        self.fingerprint = _fingerprint(connectome)
        self.scores: dict[tuple[str, int], float] = {}
        if self.path is not None and self.path.exists():
            saved = json.loads(self.path.read_text())
            if saved["connectome"] != self.fingerprint:
                raise ValueError(
                    f"expected scores of this connectome in {self.path}, found those of another; "
                    "choose another folder"
                )
            self.scores = {(name, seed): score for name, seed, score in saved["scores"]}

    def add(self, name: str, seed: int, score: float) -> None:
        self.scores[name, seed] = score
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            rows = [[*key, value] for key, value in self.scores.items()]
            content = {"connectome": self.fingerprint, "scores": rows}
            write_atomically(self.path, (json.dumps(content, indent=1) + "\n").encode())


def _fingerprint(connectome: Connectome) -> str:
    pattern, found = connectome.pattern, hashlib.sha256()
    for each in (pattern.crow.numpy(), pattern.col.numpy(), connectome.count, connectome.sign):
        found.update(np.ascontiguousarray(each).data)
    return found.hexdigest()
