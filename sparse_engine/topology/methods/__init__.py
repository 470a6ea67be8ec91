"""Published training methods, one call each.

The arguments of all methods are those of :class:`Rewiring`: the model, the optimizer, ``every``,
``fraction``, which is that of the first rewirings where it falls along training, and the options
seed, new_links, observers and keep_returning. Where a method depends on the time, ``steps`` is the
number of steps of the whole training. An argument out of range is a ValueError.
"""
