"""Connectomes: tables of neurons and links, networks on them, and tests of their wiring."""

from sparse_engine.errors import TableError as TableError
from sparse_engine.extras import extra as _extra

with _extra("connectome"):
    from sparse_engine.connectome.arrow import read_csv as read_csv
    from sparse_engine.connectome.arrow import read_feather as read_feather
    from sparse_engine.connectome.arrow import read_parquet as read_parquet
    from sparse_engine.connectome.comparison import Difference as Difference
    from sparse_engine.connectome.comparison import WiringComparison as WiringComparison
    from sparse_engine.connectome.comparison import compare as compare
    from sparse_engine.connectome.flyvis import read_flyvis as read_flyvis
    from sparse_engine.connectome.formats import FORMATS as FORMATS
    from sparse_engine.connectome.formats import read as read
    from sparse_engine.connectome.formats import read_safetensors as read_safetensors
    from sparse_engine.connectome.formats import read_sonata as read_sonata
    from sparse_engine.connectome.formats import read_worm as read_worm
    from sparse_engine.connectome.formats import write as write
    from sparse_engine.connectome.network import ConnectomeNetwork as ConnectomeNetwork
    from sparse_engine.connectome.nulls import NULLS as NULLS
    from sparse_engine.connectome.nulls import Null as Null
    from sparse_engine.connectome.nulls import SameDegrees as SameDegrees
    from sparse_engine.connectome.nulls import SameDegreesAndSigns as SameDegreesAndSigns
    from sparse_engine.connectome.nulls import SameDegreesAndTypes as SameDegreesAndTypes
    from sparse_engine.connectome.nulls import SameDensity as SameDensity
    from sparse_engine.connectome.nulls import ShuffledWeights as ShuffledWeights
    from sparse_engine.connectome.sources import SOURCES as SOURCES
    from sparse_engine.connectome.table import Connectome as Connectome
    from sparse_engine.connectome.table import read_neurons as read_neurons
    from sparse_engine.connectome.transmitters import SIGNS as SIGNS
    from sparse_engine.connectome.weights import DaleLaw as DaleLaw
    from sparse_engine.connectome.weights import Fixed as Fixed
    from sparse_engine.connectome.weights import Free as Free
    from sparse_engine.connectome.weights import LowRank as LowRank
    from sparse_engine.connectome.weights import TypePairs as TypePairs
    from sparse_engine.connectome.weights import Weights as Weights

from_table = Connectome.from_table
