"""The structure of a signed directed graph, straight from the links of a weight."""

from sparse_engine.analysis.balance import BalanceReport as BalanceReport
from sparse_engine.analysis.balance import structural_balance as structural_balance
from sparse_engine.analysis.census import feed_forward_loops as feed_forward_loops
from sparse_engine.analysis.census import signed_triad_census as signed_triad_census
from sparse_engine.analysis.census import triad_census as triad_census
from sparse_engine.analysis.degrees import DegreeDistribution as DegreeDistribution
from sparse_engine.analysis.degrees import degree_distribution as degree_distribution
from sparse_engine.analysis.degrees import reciprocity as reciprocity
from sparse_engine.analysis.null_kinds import DegreePreserving as DegreePreserving
from sparse_engine.analysis.null_kinds import ErdosRenyi as ErdosRenyi
from sparse_engine.analysis.null_kinds import NullKind as NullKind
from sparse_engine.analysis.null_kinds import SignShuffle as SignShuffle
from sparse_engine.analysis.null_model import NullModel as NullModel
from sparse_engine.analysis.null_model import null_model as null_model
from sparse_engine.analysis.participation import Participation as Participation
from sparse_engine.analysis.participation import participation as participation
from sparse_engine.analysis.small_world import SmallWorld as SmallWorld
from sparse_engine.analysis.small_world import small_world as small_world
from sparse_engine.analysis.spectrum import spectral_radius as spectral_radius
from sparse_engine.analysis.structure import Structure as Structure
from sparse_engine.analysis.structure import structure as structure
from sparse_engine.analysis.weights import WeightDistribution as WeightDistribution
from sparse_engine.analysis.weights import weight_distribution as weight_distribution
