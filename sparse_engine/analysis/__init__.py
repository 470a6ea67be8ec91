"""The structure of a signed directed graph, straight from the links of a weight."""

from sparse_engine.analysis.annealing import Annealed as Annealed
from sparse_engine.analysis.annealing import Cooling as Cooling
from sparse_engine.analysis.annealing import anneal as anneal
from sparse_engine.analysis.balance import BalanceReport as BalanceReport
from sparse_engine.analysis.balance import structural_balance as structural_balance
from sparse_engine.analysis.balanced_network import balanced_network as balanced_network
from sparse_engine.analysis.balanced_network import signed_network as signed_network
from sparse_engine.analysis.census import triad_census as triad_census
from sparse_engine.analysis.fanmod import read_fanmod as read_fanmod
from sparse_engine.analysis.fanmod import write_fanmod as write_fanmod
from sparse_engine.analysis.feed_forward import find_feed_forward_loops as find_feed_forward_loops
from sparse_engine.analysis.lesion import Lesions as Lesions
from sparse_engine.analysis.lesion import lesion as lesion
from sparse_engine.analysis.lesion_curve import LesionCurve as LesionCurve
from sparse_engine.analysis.null_model import NullModel as NullModel
from sparse_engine.analysis.null_model import sign_shuffle as sign_shuffle
from sparse_engine.analysis.objective import ClassMean as ClassMean
from sparse_engine.analysis.objective import Objective as Objective
from sparse_engine.analysis.objective import Pooled as Pooled
from sparse_engine.analysis.participation import Participation as Participation
from sparse_engine.analysis.participation import participation as participation
from sparse_engine.analysis.planted_network import Planted as Planted
from sparse_engine.analysis.planted_network import planted_network as planted_network
