"""Analysis of networks as signed directed graphs: balance, motifs, distances and lesions.

Functions of a graph take every form of :func:`~sparse_engine.analysis.graph.as_csr`, and raise what
it does: TypeError for anything else, ValueError for a matrix or file that is not square or not
valid.
"""

import torch as _torch  # noqa: F401  whose libraries the native modules use

from sparse_engine.extras import extra as _extra

with _extra("analysis"):
    import networkx  # noqa: F401
    import scipy  # noqa: F401
    import tqdm  # noqa: F401

from sparse_engine.analysis.annealing import ClassMean as ClassMean
from sparse_engine.analysis.annealing import Cooling as Cooling
from sparse_engine.analysis.annealing import Pooled as Pooled
from sparse_engine.analysis.annealing import anneal as anneal
from sparse_engine.analysis.annealing import signed_network as signed_network
from sparse_engine.analysis.balance import participation as participation
from sparse_engine.analysis.balance import structural_balance as structural_balance
from sparse_engine.analysis.distance import distance_matrix as distance_matrix
from sparse_engine.analysis.distance import match_networks as match_networks
from sparse_engine.analysis.distance import topology_distance as topology_distance
from sparse_engine.analysis.distributions import degree_distribution as degree_distribution
from sparse_engine.analysis.distributions import input_strength as input_strength
from sparse_engine.analysis.distributions import reciprocity as reciprocity
from sparse_engine.analysis.distributions import weight_distribution as weight_distribution
from sparse_engine.analysis.graph import read_fanmod as read_fanmod
from sparse_engine.analysis.graph import write_fanmod as write_fanmod
from sparse_engine.analysis.layers import RecurrentLayer as RecurrentLayer
from sparse_engine.analysis.lesions import find_feed_forward_loops as find_feed_forward_loops
from sparse_engine.analysis.lesions import find_planted_loops as find_planted_loops
from sparse_engine.analysis.lesions import lesion as lesion
from sparse_engine.analysis.lesions import planted_network as planted_network
from sparse_engine.analysis.motifs import feed_forward_loops as feed_forward_loops
from sparse_engine.analysis.motifs import signed_triad_census as signed_triad_census
from sparse_engine.analysis.motifs import triad_census as triad_census
from sparse_engine.analysis.null_model import DegreePreserving as DegreePreserving
from sparse_engine.analysis.null_model import ErdosRenyiNull as ErdosRenyiNull
from sparse_engine.analysis.null_model import NullKind as NullKind
from sparse_engine.analysis.null_model import SignShuffle as SignShuffle
from sparse_engine.analysis.null_model import null_model as null_model
from sparse_engine.analysis.summary import small_world as small_world
from sparse_engine.analysis.summary import spectral_radius as spectral_radius
from sparse_engine.analysis.summary import summarize as summarize
from sparse_engine.analysis.tracking import Balance as Balance
from sparse_engine.analysis.tracking import Drift as Drift
