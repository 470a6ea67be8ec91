"""Which transmitters excite and which inhibit, in the fly's central brain."""

from __future__ import annotations

#: Sign of each transmitter, in lower case, by its names in tables of connectomes. Receptors for
#: glutamate are chloride channels in the fly (Liu & Wilson, PNAS 2013). Others have no one sign.
SIGNS = {
    **dict.fromkeys(("ach", "acetylcholine", "cholinergic"), 1),
    **dict.fromkeys(("gaba", "gabaergic"), -1),
    **dict.fromkeys(("glu", "glut", "glutamate", "glutamatergic"), -1),
    **dict.fromkeys(("his", "hist", "histamine"), -1),
}
