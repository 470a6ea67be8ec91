"""Arguments that make no sense are refused, and the message says what was expected and found."""

from functools import partial
from math import inf, nan

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from testing import refusals

from sparse_engine import analysis as a
from sparse_engine import topology
from sparse_engine.analysis.lesions import links_of_loops
from sparse_engine.nn import SparseRHN

WIDE, SQUARE = coo_array((4, 5)), coo_array((4, 4))
TRIANGLE = coo_array((np.ones(3), ([1, 2, 2], [0, 1, 0])), shape=(3, 3)).tocsr()
NOT_FINITE = csr_array(np.array([[1.0, np.nan]]))
distance, null_model = a.topology_distance, partial(a.null_model, TRIANGLE)
planted = partial(a.planted_network, **{"n": 60, "density": 0.1})
anneal = partial(a.anneal, TRIANGLE, **{"target": 0.5})
network = partial(a.signed_network, **{"n": 150, "density": 0.05})
links = partial(links_of_loops, TRIANGLE)
model = torch.nn.Linear(2, 2)

test_what_makes_no_sense_is_refused = refusals(
    (r"target in \[0, 1\], found 1.5", lambda: anneal(target=1.5)),
    (r"target in \[0, 1\], found nan", lambda: anneal(target=nan)),
    (r"seed in \[0, 2\^64\)", lambda: anneal(seed=2**64)),
    ("square", lambda: a.anneal(csr_array((3, 4)), target=0.5)),
    ("seed of at least 0, found 150 and -1", lambda: network(seed=-1)),
    (r"density in \(0, 1\], found 0", lambda: network(density=0)),
    (r"density in \(0, 1\], found 1.5", lambda: network(density=1.5)),
    (r"positive in \[0, 1\], found -0.5", lambda: network(positive=-0.5)),
    ("n of at least 1", lambda: network(n=0)),
    ("hot >= cold > 0, found 100.0 and 0", lambda: a.Cooling(cold=0)),
    ("hot >= cold > 0, found 0.01 and 0.1", lambda: a.Cooling(hot=0.01)),
    ("hot >= cold > 0", lambda: a.Cooling(hot=inf)),
    (r"factor in \(0, 1\), found 1.0", lambda: a.Cooling(factor=1.0)),
    ("proposals of at least 1, found 0", lambda: a.Cooling(proposals=0)),
    ("n of more than 30 for 15 loops, found 30", lambda: planted(n=30)),
    ("-1 loops", lambda: planted(loops=-1)),
    (r"balanced in \[0, 1\], found 1.5", lambda: planted(balanced=1.5)),
    (r"density in \(0, 1\]", lambda: planted(density=0)),
    (r"shape \[loops, 3\], found int64 of shape \[1, 2\]", lambda: links(np.array([[0, 1]]))),
    ("found float64", lambda: links(np.array([[0.0, 1.0, 2.0]]))),
    (r"nodes in \[0, 3\), found 0 to 3", lambda: links(np.array([[0, 1, 3]]))),
    (r"from 1 to 0 for loop 1, \(1, 0, 2\)", lambda: links(np.array([[0, 1, 2], [1, 0, 2]]))),
    ("found none from 2 to 2", lambda: links(np.array([[2, 2, 2]]))),
    (r"n of at least 2 and seed in \[0, 2\^64\), found 1 and 0", lambda: null_model(n=1)),
    ("found 2 and -1", lambda: null_model(n=2, seed=-1)),
    ("a NullKind .*topology.*Erd", lambda: null_model(kind=topology.ErdosRenyi(density=0.1), n=2)),
    ("proposals of at least 1, found 0", lambda: a.DegreePreserving(proposals=0)),
    (r"seed in \[0, 2\^64\) and sample .*, found", lambda: a.SignShuffle().draw(TRIANGLE, seed=-1)),
    ("layer 0 to be of one shape, found 4 x 5 and 5 x 4", lambda: distance([WIDE], [WIDE.T])),
    ("as many layers, found 1 and 2", lambda: distance([WIDE], [WIDE, WIDE])),
    ("layer 1 to have the 4 units.*found 5", lambda: distance([WIDE, WIDE], [WIDE, WIDE])),
    (r"bound of at least 0, found -0\.1", lambda: distance([WIDE], [WIDE], bound=-0.1)),
    ("bound of at least 0, found nan", lambda: distance([WIDE], [WIDE], bound=nan)),
    ("found recurrent 4 x 0 and 4 x 4", lambda: distance([a.RecurrentLayer(SQUARE)], [SQUARE])),
    ("rows per gate as columns, found 5 x 4", lambda: distance([a.RecurrentLayer(WIDE.T)] * 2, [])),
    ("model with sparse weights, found none", lambda: distance(model, model)),
    ("a mapping of weights as a network, found Tensor", lambda: distance(torch.zeros(2, 2), model)),
    ("SparseWeight.*found ndarray", lambda: distance([np.zeros((2, 2))], [WIDE])),
    (
        "found 2 of SparseRHN",
        lambda: distance(SparseRHN(3, 9, recurrence_depth=2, density=0.3), []),
    ),
    ("at least one network, found none", lambda: a.distance_matrix([])),
    ("every of at least 1 rewiring, found 0", lambda: a.Balance(every=0)),
    ("shuffles of 0, or at least 2, and seed in", lambda: a.Balance(shuffles=1)),
    ("shuffles of 0, or at least 2, and seed in", lambda: a.Balance(seed=-1)),
    (r"every of at least \d", lambda: a.Drift(every=0)),
    (r"bound of at least \d", lambda: a.Drift(bound=-1.0)),
    ("bins of at least 1, found 0", lambda: a.weight_distribution(SQUARE, bins=0)),
    (r"tolerance in \[0, 1\), found 1", lambda: a.spectral_radius(SQUARE, tolerance=1)),
    ("a square weight, found 2 x 3", lambda: a.structural_balance(coo_array((2, 3)))),
    (r"found torch\.strided", lambda: a.structural_balance(torch.zeros(3, 3))),
    ("a SparseWeight.*found list", lambda: a.structural_balance([[0, 1]])),
    ("a SparseWeight, .* found list", lambda: a.input_strength([[1.0]])),
    ("found nan at link 1", lambda: a.input_strength(NOT_FINITE)),
    (
        "found nan at link 1",
        lambda: a.triad_census(coo_array(([1, nan], ([0, 1], [1, 0])), (2, 2))),
    ),
    error=(ValueError, TypeError),
)
