"""Packages that are needed, and packages of the extras, with their versions."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

import sparse_engine
from sparse_engine.lab.doctor.report import Report

#: Extras for those who work on the package itself.
DEVELOPERS = ("dev", "docs")
REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)(\[.*?\])?\s*\(?(>=(?P<least>[\w.]+)|==[\w.]+)?[^;]*"
    r"(;.*extra == ['\"](?P<extra>[\w-]+)['\"])?"
)


class Requirement(NamedTuple):
    """Requirement of the package.

    Attributes:
        name: name of the distribution.
        least: least version, or None.
        extra: extra that it belongs to, or None for what is always needed.
    """

    name: str
    least: str | None
    extra: str | None


def check(report: Report) -> None:
    """Add the versions of Python, the package and its libraries; find missing and old ones."""
    report.facts["sparse_engine"] = sparse_engine.__version__
    report.facts["python"] = platform.python_version()
    report.facts["platform"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    found: dict[str, str] = {}
    for requirement in _requirements():
        version = installed(requirement.name)
        if requirement.extra is None:
            found[requirement.name] = version or "missing"
            _compare(report, requirement, version)
        elif requirement.extra not in DEVELOPERS and version is not None:
            found.setdefault(requirement.name, version)
    report.facts["packages"] = found


def extras(report: Report) -> None:
    """Add which extras are complete, and what the others lack."""
    lacking: dict[str, list[str]] = {}
    for requirement in _requirements():
        if requirement.extra is None or requirement.extra in DEVELOPERS:
            continue
        missing = lacking.setdefault(requirement.extra, [])
        version = installed(requirement.name)
        if version is None:
            missing.append(requirement.name)
        else:
            _compare(report, requirement, version)
    report.facts["extras"] = {
        extra: f"without {', '.join(missing)}" if missing else "complete"
        for extra, missing in sorted(lacking.items())
    }


def installed(name: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> Iterator[Requirement]:
    try:
        lines = metadata.requires("sparse_engine") or []
    except metadata.PackageNotFoundError:  # a source folder that is not installed
        return
    for line in lines:
        match = REQUIREMENT.match(line)
        if match is not None and match["name"] != "sparse_engine":
            yield Requirement(match["name"], match["least"], match["extra"])


def _compare(report: Report, requirement: Requirement, version: str | None) -> None:
    name, least = requirement.name, requirement.least
    wanted = f"{name}>={least}" if least else name
    remedy = f"pip install '{wanted}'"
    if version is None:
        report.broken(f"expected the package {wanted}, found none", remedy)
    elif least is not None and _numbers(version) < _numbers(least):
        report.broken(f"expected the package {wanted}, found {version}", remedy)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release of a version, without local parts such as ``+cpu``."""
    leading = re.match(r"[\d.]*", version)
    return tuple(int(part) for part in leading[0].split(".") if part) if leading else ()
