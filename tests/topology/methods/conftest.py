"""Every published method."""

from functools import partial

import methods as registry
import pytest

from sparse_engine.topology import Rewiring


@pytest.fixture(params=registry.OPTIONS, ids=lambda method: method.__name__)
def method(request) -> type[Rewiring]:
    """Each of the published methods."""
    return request.param


@pytest.fixture
def build(method):
    """Makes a network, its Adam and the method, all of one seed."""
    return partial(registry.build, registry.make_method(method))
