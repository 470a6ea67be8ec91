"""Packages that are needed, and packages of the extras, with their versions."""

from __future__ import annotations

import platform
from importlib import metadata

import sparse_engine
from sparse_engine.lab.doctor.diagnosis import Diagnosis

#: Extras for those who work on the package itself.
DEVELOPERS = ("dev", "docs")


def check(diagnosis: Diagnosis) -> None:
    """Add the versions of Python, the package and its libraries; find missing and old ones."""
    diagnosis.facts["sparse_engine"] = sparse_engine.__version__
    diagnosis.facts["python"] = platform.python_version()
    diagnosis.facts["platform"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    try:
        from packaging.requirements import Requirement
    except ImportError:
        diagnosis.facts["packages"] = "not compared without the library packaging"
        return
    try:
        lines = metadata.requires("sparse_engine") or []
        extras = metadata.metadata("sparse_engine").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:  # a source folder that is not installed
        lines, extras = [], []
    found: dict[str, str] = {}
    lacking: dict[str, list[str]] = {}
    for requirement in map(Requirement, lines):
        marker, name = requirement.marker, requirement.name
        extra = next((e for e in extras if marker and marker.evaluate({"extra": e})), "")
        if name == "sparse_engine" or extra in DEVELOPERS:
            continue
        version = installed(name)
        wanted = f"{name}{requirement.specifier}"
        if version is not None:
            found.setdefault(name, version)
        if extra:
            lacking.setdefault(extra, []).extend([] if version else [name])
        if (version is None and not extra) or (
            version is not None and not requirement.specifier.contains(version, prereleases=True)
        ):
            diagnosis.broken(
                f"expected the package {wanted}, found {version or 'none'}",
                f"pip install '{wanted}'",
            )
    diagnosis.facts["packages"] = found
    diagnosis.facts["extras"] = {
        extra: f"without {', '.join(missing)}" if missing else "complete"
        for extra, missing in sorted(lacking.items())
    }


def installed(name: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
