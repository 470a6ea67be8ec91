"""The structure of a signed directed graph, straight from the links of a weight."""

from sparse_engine.analysis.balance import BalanceReport as BalanceReport
from sparse_engine.analysis.balance import structural_balance as structural_balance
from sparse_engine.analysis.census import triad_census as triad_census
from sparse_engine.analysis.null_model import NullModel as NullModel
from sparse_engine.analysis.null_model import sign_shuffle as sign_shuffle
from sparse_engine.analysis.participation import Participation as Participation
from sparse_engine.analysis.participation import participation as participation
