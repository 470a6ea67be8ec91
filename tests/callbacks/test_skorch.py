"""Nets of skorch that are pickled, fitted again, and cloned."""

import pickle
from functools import partial

import pytest
from callbacks.trainers import Trained, assert_same, by_hand, numpy_data, skorch_net

from sparse_engine.topology import SET, NormalInit

skorch = pytest.importorskip("skorch")

from sparse_engine.callbacks.skorch import Rewire  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
METHOD = partial(SET, fraction=0.3, every=3, new_links=NormalInit(0.1))


def trained(net):
    return Trained(net.module_, net.optimizer_)


@pytest.mark.parametrize("when", ["within", "after", "never"])
def test_a_pickled_net_continues(when, tmp_path):
    checkpoint = skorch.callbacks.Checkpoint(
        monitor=None, dirname=str(tmp_path), f_pickle="net.pkl"
    )
    net = skorch_net([Rewire(METHOD), checkpoint], skorch.NeuralNet)
    net.partial_fit(*numpy_data(), epochs=2)
    if when == "within":
        net = pickle.loads((tmp_path / "net.pkl").read_bytes())
    elif when == "after":
        net = pickle.loads(pickle.dumps(net))
    net.partial_fit(*numpy_data(), epochs=1)
    assert_same(trained(net), by_hand(METHOD, epochs=3))


def test_fitting_again_begins_again():
    net = skorch_net([Rewire(METHOD)], skorch.NeuralNet).set_params(max_epochs=2)
    net.fit(*numpy_data()).fit(*numpy_data())
    assert_same(trained(net), by_hand(METHOD, epochs=2))


def test_a_clone_has_the_settings_and_no_rewiring():
    base = pytest.importorskip("sklearn.base")
    net = skorch_net([Rewire(METHOD)], skorch.NeuralNet).partial_fit(*numpy_data(), epochs=1)
    cloned = base.clone(net)
    assert [*cloned.callbacks[0].get_params()] == ["method"]
    assert_same(trained(cloned.partial_fit(*numpy_data(), epochs=2)), by_hand(METHOD, epochs=2))
