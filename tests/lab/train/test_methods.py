"""Methods by their names on the command line: their options, and a run that is resumed."""

from sparse_engine.lab.train import METHODS, Method
from sparse_engine.topology import DeepR, GradualPruning, NarangPruning, PeriodicDeepR

#: Names that are not their class's.
CLASSES = {
    "deep-r": PeriodicDeepR,
    "deep-r-langevin": DeepR,
    "pruning": GradualPruning,
    "narang": NarangPruning,
}


def of(name):
    method = Method(name, fraction=0.25, every=3, final_density=0.1)
    return lambda model, optimizer: method.make(model, optimizer, steps=20, density=0.3, seed=7)


def test_options_reach_the_method(start, tmp_path):
    rewirings = {name: start(tmp_path / name, method=of(name)).rewiring for name in METHODS}
    for name, rewiring in rewirings.items():
        kind = type(rewiring)
        assert CLASSES.get(name, kind) is kind, name
        assert name in CLASSES or kind.__name__.lower() == name.replace("-", ""), name
        if name not in ("static", "deep-r-langevin"):
            seed = 0 if name in ("pruning", "narang") else 7
            assert (rewiring.every, rewiring.seed) == (3, seed), name
        if name not in ("static", "deep-r", "deep-r-langevin", "pruning", "narang"):
            assert rewiring.fraction.at(0) == 0.25, name
    assert rewirings["rigl"].fraction.at(15) == 0 < rewirings["rigl"].fraction.at(14)
    assert rewirings["snfs"].fraction.at(20) == 0.005 < rewirings["snfs"].fraction.at(19)
    assert rewirings["granet"].density.at(0) == rewirings["pruning"].density.at(0) == 0.3
    assert rewirings["granet"].density.at(6) == rewirings["pruning"].density.at(10) == 0.1
    assert rewirings["pruning"].density.at(9) > 0.1
