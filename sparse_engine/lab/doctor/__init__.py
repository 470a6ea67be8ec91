"""Doctor of an installation: what is installed, what is wrong with it, and what to do about that.

Only the standard library is imported here, because the doctor is asked where torch or the kernels
cannot be imported. ``sparse-engine info`` prints what :func:`examine` finds.
"""

from __future__ import annotations

from sparse_engine import machine
from sparse_engine.lab.doctor import native, packages
from sparse_engine.lab.doctor.diagnosis import BROKEN as BROKEN
from sparse_engine.lab.doctor.diagnosis import SLOW as SLOW
from sparse_engine.lab.doctor.diagnosis import Diagnosis as Diagnosis


def examine() -> Diagnosis:
    """Examine the installation in which this process runs, within a few seconds."""
    diagnosis = Diagnosis()
    packages.check(diagnosis)
    diagnosis.facts |= machine.facts()
    native.check(diagnosis)
    return diagnosis
