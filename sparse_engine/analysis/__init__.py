"""The structure of a signed directed graph, straight from the links of a weight."""

from sparse_engine.analysis.balance import BalanceReport as BalanceReport
from sparse_engine.analysis.balance import structural_balance as structural_balance
from sparse_engine.analysis.census import triad_census as triad_census
from sparse_engine.analysis.distance import distance_matrix as distance_matrix
from sparse_engine.analysis.distance import match_networks as match_networks
from sparse_engine.analysis.distance import topology_distance as topology_distance
from sparse_engine.analysis.drift import Drift as Drift
from sparse_engine.analysis.matching import Matching as Matching
from sparse_engine.analysis.matching import match_units as match_units
from sparse_engine.analysis.null_model import NullModel as NullModel
from sparse_engine.analysis.null_model import sign_shuffle as sign_shuffle
from sparse_engine.analysis.participation import Participation as Participation
from sparse_engine.analysis.participation import participation as participation
from sparse_engine.analysis.wiring import Recurrent as Recurrent
