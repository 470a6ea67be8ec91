"""Networks that learn five series online, at every step: dense, sparse, and rewired meanwhile."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from sparse_engine.lab.experiments.training import Quantity, TrainingExperiment, Variant
from sparse_engine.lab.train import StoredRun

#: Published errors of dense networks of 64 units, by series and learner: each is the mean over the
#: 200 steps before each of the last five records, which are 250 steps apart.
PUBLISHED = {
    "henon": {"rtrl": 0.0052, "snap1": 0.0052, "rflo": 0.0704},
    "mackey-glass": {"rtrl": 0.0180, "snap1": 0.0050, "rflo": 0.0572},
    "lorenz": {"rtrl": 0.0051, "snap1": 0.0024, "rflo": 0.0442},
    "sunspot": {"rtrl": 0.1451, "snap1": 0.1437, "rflo": 0.1536},
    "laser": {"rtrl": 0.0199, "snap1": 0.0214, "rflo": 0.2759},
}
#: Networks with the 4,096 links of the dense one, and with half of them, which learn by SnAp-1.
SPARSE: dict[str, dict[str, Any]] = {
    "sparse, equal links": {"hidden": 128, "density": 0.25, "method": "static"},
    "SET, equal links": {"hidden": 128, "density": 0.25, "method": "set"},
    "SET, half of the links": {"hidden": 128, "density": 0.125, "method": "set"},
}


#: Steps from record to record. Seven, as states begin anew every 200 steps: each place in these
#: enters the mean of the records as often as any other.
RECORDED = 7


def last_errors(run: StoredRun) -> float:
    """Return the mean squared error in the last 1,250 steps, each before learning from it."""
    return fmean(entry["loss"] for entry in run.entries[-(1250 // RECORDED) :])


ERROR = Quantity("mse, mean of the last 1,250 steps", last_errors, False)


def _variant(series: str, network: str, learner: str, **settings: Any) -> Variant:
    published = {ERROR.name: PUBLISHED[series][learner]}
    note = "" if network == "dense" else "published: dense"
    note = "published: a trace that keeps .9 in every step" if learner == "rflo" else note
    own = {"series": series, "online": learner, "evaluate_every": RECORDED, **settings}
    return Variant(f"{series}, {learner}, {network}", "next-value", own, published, note=note)


def _variants(series: str) -> list[Variant]:
    dense = {"density": 1.0, "method": "static"}
    return [
        *(_variant(series, "dense", learner, **dense) for learner in PUBLISHED[series]),
        *(_variant(series, name, "snap1", **own) for name, own in SPARSE.items()),
    ]


#: Tanh networks of one input and a linear readout, which take an update at every step of eight
#: lanes, 15,000 in all. A seed is that of the initial values, the wiring and the series.
ONLINE_SERIES = TrainingExperiment(
    "online-series",
    "next values of five series, learned online by RTRL, SnAp-1 and RFLO",
    "sketched-rtrl, tables of time series, 2026",
    [variant for series in PUBLISHED for variant in _variants(series)],
    [ERROR, Quantity("links at the end", lambda run: float(run.scores.last["nnz"]))],
    numbered=("series_seed",),
)
