"""Training runs: what they leave, interruptions, and settings with their refusals."""

import json
import signal
import sys
import threading
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from testing import refusals

from sparse_engine import lab, topology
from sparse_engine.lab.networks import Network, limits
from sparse_engine.lab.tasks import MackeyGlass
from sparse_engine.lab.train import (
    METHODS,
    Checkpoint,
    CheckpointError,
    Config,
    Method,
    Run,
    read_metrics,
)
from sparse_engine.lab.train.log import MetricsLog, Scores
from sparse_engine.lab.train.pictures import draw_pictures


class Stop(Exception):
    pass


def stop_at(number, how):
    """Raises an error or a signal at a step."""

    def at_step(step):
        if step == number and how is Stop:
            raise Stop
        if step == number:
            signal.raise_signal(how)

    return at_step


def test_leaves_a_folder_that_tells_everything(tmp_path, start):
    run = start(tmp_path / "deep" / "run")
    result, weight = run.train(progress=False), run.model.recurrent.weight_hh_l0
    assert result.finished and run.step == 20
    assert result.nnz == run.nnz == weight.nnz == 43
    assert result.metric == run.task.evaluate(run.model.eval())["mse"]
    assert result.seconds > 0 and result.peak_bytes > 50e6
    entries = read_metrics(run.folder / "metrics.jsonl")
    assert [entry["step"] for entry in entries] == list(range(2, 21, 2))
    assert all(entry["nnz"] == 43 for entry in entries)
    assert entries[-1]["metric"] == result.metric
    records = read_metrics(run.folder / "topology.jsonl")
    rewirings = [(record["step"], record["rewirings"], record["weight"]) for record in records]
    assert rewirings == [(3 * n, n, "recurrent.weight_hh_l0") for n in range(1, 7)]
    assert records[-1]["hash"] == topology.topology_hash(weight)
    assert records[-1]["exploration"] == run.tracker.exploration > records[0]["exploration"]


@pytest.mark.parametrize(("limit", "expected"), [(32_768, 1), (0, 2)])
def test_a_small_model_has_one_thread(limit, expected, tmp_path, start, threads, monkeypatch):
    """Torch would wait for a second one in every operation, for milliseconds on a busy machine."""
    monkeypatch.setattr("sparse_engine.lab.train.process.SMALL", limit)
    threads(2)
    found = set()
    start(tmp_path, at_step=lambda _: found.add(torch.get_num_threads())).train(progress=False)
    assert found == {expected} and torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("method", "every"),
    [
        (topology.SET, 20),
        (topology.SET, 21),
        (partial(topology.RigL, steps=20), 15),
        (partial(topology.GradualPruning, density=0.1, last=10), 20),
    ],
)
def test_a_method_that_never_rewires_is_refused(tmp_path, start, method, every):
    with pytest.raises(ValueError, match=f"before the last of 20 steps.* every = {every}; take"):
        start(tmp_path / "never", method=partial(method, every=every))
    assert not (tmp_path / "never").exists()
    run = start(tmp_path / "once", method=partial(method, every=every - every // 20 - 1))
    run.train(progress=False)
    assert run.model.recurrent.weight_hh_l0.topology_version == 1


def test_the_last_step_leaves_no_gradients_behind(tmp_path, start):
    start(tmp_path, method=partial(topology.RigL, steps=20, every=5, stop=1.0)).train(
        progress=False
    )
    assert not [name for name in Checkpoint.load(tmp_path).rewiring if name.startswith("factors")]


@pytest.mark.parametrize(
    ("step", "how"),
    [
        (0, signal.SIGTERM),
        (4, signal.SIGINT),
        (7, signal.SIGTERM),
        (18, signal.SIGINT),
        (3, Stop),
        (13, Stop),
    ],
)
def test_a_run_that_ended_early_goes_on_as_if_it_had_not(tmp_path, start, whole, step, how):
    """Steps after the last checkpoint are taken again, and logged once."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run = start(tmp_path, at_step=stop_at(step, how))
    if how is Stop:
        with pytest.raises(Stop):
            run.train(progress=False)
    else:
        assert not run.train(progress=False).finished and run.step == step + 1
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    for _ in range(2):  # the second time it has ended
        resumed = start(tmp_path, resume=True)
        assert resumed.step == Checkpoint.load(tmp_path).step
        assert resumed.train(progress=False).finished
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole


def test_an_observer_sees_every_evaluation_and_ends_a_run(tmp_path, start):
    seen = []

    def observe(entry):
        seen.append(entry)
        if len(seen) == 2:
            raise Stop

    run = start(tmp_path / "run", observers=[observe])
    with pytest.raises(Stop):
        run.train(progress=False)
    assert seen == read_metrics(tmp_path / "run" / "metrics.jsonl")
    start(tmp_path / "run", resume=True, observers=[seen.append]).train(progress=False)
    steps = [entry["step"] for entry in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert steps == sorted({entry["step"] for entry in seen}) and len(steps) > 2


def test_trains_outside_the_main_thread(tmp_path, start):
    results = []
    run = start(tmp_path)
    thread = threading.Thread(target=lambda: results.append(run.train(progress=False)))
    thread.start()
    thread.join()
    assert results[0].finished


def test_stops_at_a_loss_that_is_not_finite(tmp_path, start):
    def spoil(step):
        if step == 7:
            run.model.readout.weight.data.fill_(float("nan"))

    run = start(tmp_path, at_step=spoil)
    with pytest.raises(FloatingPointError, match="expected a finite loss, found nan at step 7"):
        run.train(progress=False)
    assert Checkpoint.load(tmp_path).model["readout.weight"].isfinite().all()


SETTINGS = [
    *({name: 0} for name in ("steps", "evaluate_every", "hidden", "every", "density")),
    *({"seed": seed} for seed in (-1, 2**63)),
    {"density": float("nan")},
    {"save_every": -1},
    {"learning_rate": -1.0},
    {"hidden": 10_000_000},
    {"hidden": 10**400},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=range(len(SETTINGS)))
def test_settings_that_cannot_be_leave_no_folder(tmp_path, start, settings):
    with pytest.raises(ValueError, match=r"expected|Invalid"):
        start(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_the_memory_of_this_machine_is_the_bound(monkeypatch):
    links, states = round(0.1 * 500**2), 500 * 60
    needed = links * limits.BYTES_PER_LINK + states * limits.BYTES_PER_STATE
    assert 2**28 < limits.memory() < 2**50
    monkeypatch.setattr(limits, "memory", lambda: needed)
    limits.check_size(500, 0.1, 60)
    with pytest.raises(ValueError, match=r"found 501 units, 25,100 links and 30,060 states"):
        limits.check_size(501, 0.1, 60)


def test_memory_that_a_step_cannot_have_is_one_line(tmp_path, start):
    run = start(tmp_path, at_step=lambda step: torch.empty(2**60))
    with pytest.raises(MemoryError, match=r"^expected memory for a run \(fewer.*found too little"):
        run.train(progress=False)


def test_says_that_there_is_nothing_to_resume(tmp_path, start):
    with pytest.raises(CheckpointError, match=r"found no config\.json.*--resume"):
        start(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_refuses_to_resume_with_other_or_damaged_settings(tmp_path, start):
    start(tmp_path)
    with pytest.raises(FileExistsError, match=r"expected a new or empty folder.*--resume"):
        start(tmp_path)
    for name, value in (("network.hidden", 13), ("network.density", 0.2), ("seed", 3)):
        with pytest.raises(CheckpointError, match=f"found {name} = {value}"):
            start(tmp_path, resume=True, **{name.rpartition(".")[2]: value})
    config = json.loads((tmp_path / "config.json").read_text())
    edited = [json.dumps(config | {"seed": value}).encode() for value in (7, 0.1, None)]
    for content in (b"", b"{", b"[]", b"{}", b"null", b"\xff", *edited):
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(CheckpointError, match="expected"):
            start(tmp_path, resume=True)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_the_best_is_that_of_the_fewest_links(tmp_path, higher_is_better):
    nan = float("nan")
    scores = Scores(tmp_path / "none", higher_is_better, steps=9)
    sign = 1 if higher_is_better else -1
    for step, (metric, nnz) in enumerate(
        [(9, 80), (nan, 80), (5, 40), (nan, 20), (7, 20), (8, 30), (6, 20), (7, 20)]
    ):
        scores.add({"step": step, "metric": sign * metric, "nnz": nnz})
        if step == 1:
            assert scores.best["step"] == 0
    assert scores.best["step"] == 4 and scores.since_best == 3 and scores.last["step"] == 7


def test_log_leaves_out_a_line_that_was_cut_short(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "lo')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
    log = MetricsLog(path, steps=1)
    log.write({"step": 2, "loss": 0.5})
    log.close()
    assert path.read_text() == '{"step": 1}\n{"step": 2, "loss": 0.5}\n'


@pytest.mark.parametrize("line", ["{", "3", "[]", "{}", '{"step": "x"}', ""])
def test_log_names_a_damaged_line(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(ValueError, match="expected an entry with a step in line 2"):
        read_metrics(path)


#: Names of methods that are not their class's.
CLASSES = {
    "deep-r": topology.PeriodicDeepR,
    "deep-r-langevin": topology.DeepR,
    "pruning": topology.GradualPruning,
    "narang": topology.NarangPruning,
}


def test_options_reach_the_method(start, tmp_path):
    def of(name):
        method = Method(name, fraction=0.25, every=3, final_density=0.1)
        return partial(method.make, steps=20, density=0.3, seed=7)

    rewirings = {name: start(tmp_path / name, method=of(name)).rewiring for name in METHODS}
    for name, rewiring in rewirings.items():
        kind = type(rewiring)
        assert CLASSES.get(name, kind) is kind, name
        assert name in CLASSES or kind.__name__.lower() == name.replace("-", ""), name
        if name not in ("static", "deep-r-langevin"):
            seed = 0 if name in ("pruning", "narang") else 7
            assert (rewiring.every, rewiring.seed) == (3, seed), name
        if name not in ("static", *CLASSES):
            assert rewiring.fractions.at(0) == 0.25, name
    assert rewirings["rigl"].fractions.at(15) == 0 < rewirings["rigl"].fractions.at(14)
    assert rewirings["snfs"].fractions.at(20) == 0.005 < rewirings["snfs"].fractions.at(19)
    for name, end in (("granet", 6), ("pruning", 10)):
        density = rewirings[name].densities
        assert (density.at(0), density.at(end)) == (0.3, 0.1) and density.at(end - 1) > 0.1


def test_without_matplotlib_says_how_to_get_it(tmp_path, start, monkeypatch, capsys):
    run = start(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [name for name in sys.modules if name.startswith("sparse_engine.lab.plot")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(vars(lab), "plot", raising=False)
    draw_pictures(tmp_path, run.model, run.task)
    told = capsys.readouterr().out
    assert "no pictures" in told and "pip install 'sparse_engine[plot]'" in told
    assert not list(tmp_path.glob("*.png"))


def test_settings_are_replaced_wherever_they_are():
    config = Config.published("mackey-glass").replaced(
        series_seed=2, cell="lstm", method="rigl", every=7, scheduler="constant", steps=9
    )
    assert config.task.series_seed == 2 and config.network.cell == "lstm"
    assert (config.method.name, config.method.every) == ("rigl", 7)
    assert config.optimization.scheduler == "constant" and config.steps == 9


test_unknown_settings_are_named = refusals(
    (
        "of a run of mackey-glass, found colour, size",
        lambda: Config.published("mackey-glass", size=1, colour=2),
    ),
    (r"expected a task of .*, found 'nonsense'", lambda: Config.published("nonsense")),
)


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("network"),
        lambda record: record.update(colour=1),
        lambda record: record["network"].update(colour=1),
        lambda record: record["task"].update(name="nonsense"),
        lambda record: record["task"].pop("name"),
        lambda record: record.update(method=3),
    ],
)
def test_damaged_settings_are_refused(damage):
    record = Config.published("mackey-glass").to_json()
    damage(record)
    with pytest.raises(ValueError, match="expected"):
        Config.from_json(record)


@dataclass(frozen=True)
class Another(Network):
    pass


def test_a_network_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"RecurrentNetwork for the task mackey-glass.*Another"):
        Run(tmp_path / "run", Config(MackeyGlass(), Another()))
