"""The structure of a signed directed graph, straight from the links of a weight."""

from sparse_engine.analysis.balance import BalanceReport as BalanceReport
from sparse_engine.analysis.balance import structural_balance as structural_balance
from sparse_engine.analysis.census import feed_forward_loops as feed_forward_loops
from sparse_engine.analysis.census import signed_triad_census as signed_triad_census
from sparse_engine.analysis.census import triad_census as triad_census
from sparse_engine.analysis.null_kinds import DegreePreserving as DegreePreserving
from sparse_engine.analysis.null_kinds import ErdosRenyi as ErdosRenyi
from sparse_engine.analysis.null_kinds import NullKind as NullKind
from sparse_engine.analysis.null_kinds import SignShuffle as SignShuffle
from sparse_engine.analysis.null_model import NullModel as NullModel
from sparse_engine.analysis.null_model import null_model as null_model
from sparse_engine.analysis.participation import Participation as Participation
from sparse_engine.analysis.participation import participation as participation
