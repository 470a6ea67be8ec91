"""Networks whose neurons are distributed over processes, with the same bits for any number."""

from sparse_engine.distributed.averaging import average_links as average_links
from sparse_engine.distributed.network import shard as shard
from sparse_engine.distributed.order import Order as Order
from sparse_engine.distributed.order import partition as partition
from sparse_engine.distributed.state import load_whole_state_dict as load_whole_state_dict
from sparse_engine.distributed.state import whole_state_dict as whole_state_dict
from sparse_engine.distributed.weight import ShardedWeight as ShardedWeight
