"""The heat map of distances."""

import numpy as np
import pytest

from sparse_engine.lab import plot


def test_what_is_drawn(axes):
    matrix = np.array([[0.0, 0.25, 1.0], [0.25, 0.0, 0.5], [1.0, 0.5, 0.0]])
    assert plot.distances(matrix, axes, labels=["a", "b", "c"]) is axes
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array(), matrix)
    assert image.get_clim() == (0, 1)
    assert [text.get_text() for text in axes.texts] == [f"{x:.2f}" for x in matrix.ravel()]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]


def test_many_networks_have_no_numbers(axes):
    plot.distances(np.zeros((20, 20)), axes)
    assert not axes.texts


def test_refuses_what_does_not_fit(axes):
    with pytest.raises(ValueError, match=r"expected a 2 x 2 matrix, found shape \[2, 3\]"):
        plot.distances(np.zeros((2, 3)), axes)
    with pytest.raises(ValueError, match=r"expected a 1 x 1 matrix, found shape \[2, 2\]"):
        plot.distances(np.zeros((2, 2)), axes, labels=["a"])
