"""Every rule that the command line offers trains, resumes and takes its options."""

import pytest

from sparse_engine.topology import (
    CHT,
    DSR,
    GSE,
    ITOP,
    MEST,
    SET,
    SNFS,
    CHTs,
    GradualPruning,
    GraNet,
    PeriodicDeepR,
    RigL,
    Static,
)
from sparse_engine.train import RULES, RuleOptions

OPTIONS = RuleOptions(fraction=0.25, every=3, steps=20, density=0.3, final_density=0.1, seed=7)
CLASSES = {
    "set": SET,
    "rigl": RigL,
    "gse": GSE,
    "snfs": SNFS,
    "dsr": DSR,
    "itop": ITOP,
    "mest": MEST,
    "cht": CHT,
    "chts": CHTs,
    "deep-r": PeriodicDeepR,
    "granet": GraNet,
    "pruning": GradualPruning,
    "static": Static,
}


def of(name):
    return lambda model, optimizer: RULES[name].make(model, optimizer, OPTIONS)


@pytest.mark.parametrize("name", RULES)
def test_a_run_that_is_resumed_equals_one_that_never_stopped(name, tmp_path, start):
    whole = start(tmp_path / "whole", rule=of(name))
    assert type(whole.rule) is CLASSES[name]
    whole.train(progress=False)
    # Its checkpoint after 5 steps is within every window of gradients before the rewiring at 6.
    stopped = start(tmp_path / "parts", rule=of(name), at_step=stop_at(7))
    with pytest.raises(InterruptedError):
        stopped.train(progress=False)
    resumed = start(tmp_path / "parts", rule=of(name), resume=True)
    assert resumed.step == 5
    resumed.train(progress=False)
    for file in ("checkpoint.json", "checkpoint-00000020.safetensors", "metrics.jsonl"):
        ours, theirs = tmp_path / "whole" / file, tmp_path / "parts" / file
        assert ours.read_bytes() == theirs.read_bytes(), file


def stop_at(number):
    def at_step(step):
        if step == number:
            raise InterruptedError

    return at_step


def test_options_reach_the_rule(start, tmp_path):
    rules = {name: start(tmp_path / name, rule=of(name)).rule for name in RULES}
    for name, rule in rules.items():
        if name != "static":
            assert (rule.every, rule.seed) == (3, 0 if name == "pruning" else 7), name
        if name not in ("static", "deep-r", "pruning"):
            assert rule.fraction.at(0) == 0.25, name
    assert rules["rigl"].fraction.at(15) == 0 < rules["rigl"].fraction.at(14)
    assert rules["snfs"].fraction.at(20) == 0.005 < rules["snfs"].fraction.at(19)
    assert rules["granet"].density.at(0) == rules["pruning"].density.at(0) == 0.3
    assert rules["granet"].density.at(6) == rules["pruning"].density.at(10) == 0.1
    assert rules["pruning"].density.at(9) > 0.1
