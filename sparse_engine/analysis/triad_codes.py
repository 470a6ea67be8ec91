"""Codes of triads: numbers in [0, 4096) that hold the states of six possible links.

The links 0 to 5 among the nodes u, v, w are u->v, v->u, u->w, w->u, v->w and w->v. Bits 2k and
2k + 1 of the code are the state of link k: 0 for no link, 1 positive, 2 negative, 3 zero.
"""

from __future__ import annotations

import numpy as np

from sparse_engine.analysis._triads import CODES

#: Source and target of each link, with u, v, w as 0, 1, 2.
ENDS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1))

#: State, existence and sign of each link of each code, ``[CODES, 6]``.
STATES = np.arange(CODES)[:, None] >> 2 * np.arange(6) & 3
PRESENT = STATES > 0
SIGNS = np.array([0, 1, -1, 0])[STATES]
