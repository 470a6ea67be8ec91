"""What the code of a triad says: its links and their states.

Among its nodes u, v, w the links 0 to 5 are u->v, v->u, u->w, w->u, v->w, w->v, and bits 2k and
2k + 1 of the code are the state of link k: 0 for none, 1 positive, 2 negative, 3 zero.
"""

from __future__ import annotations

import numpy as np

from sparse_engine.analysis._triads import CODES

#: Source and target of each link, with u, v, w as 0, 1, 2.
ENDS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1))

#: Of each code and link: its state, whether it is there, its sign.
STATES = np.arange(CODES)[:, None] >> 2 * np.arange(6) & 3
PRESENT = STATES > 0
SIGNS = np.array([0, 1, -1, 0])[STATES]
