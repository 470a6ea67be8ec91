"""Doctor of an installation: what is installed, what is wrong with it, and what to do about that.

Only the standard library is imported here, because the doctor is asked where torch or the kernels
cannot be imported. ``sparse-engine info`` prints what :func:`examine` finds.
"""

from __future__ import annotations

from sparse_engine import machine
from sparse_engine.lab.doctor import device, native, packages
from sparse_engine.lab.doctor.report import BROKEN as BROKEN
from sparse_engine.lab.doctor.report import SLOW as SLOW
from sparse_engine.lab.doctor.report import Finding as Finding
from sparse_engine.lab.doctor.report import Report as Report


def examine() -> Report:
    """Examine the installation in which this process runs, within a few seconds."""
    report = Report()
    packages.check(report)
    report.facts |= machine.facts()
    for check in (native.check, device.check, packages.extras):
        check(report)
    return report
