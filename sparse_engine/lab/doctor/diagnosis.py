"""Diagnosis of an installation: facts, and findings with their remedies."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

#: Something does not work at all; or everything works, but more slowly than it could.
BROKEN, SLOW = "broken", "slow"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, how badly (:data:`BROKEN` or :data:`SLOW`), and what to do."""

    severity: str
    problem: str
    remedy: str


@dataclass
class Diagnosis:
    """Facts of an installation by name, ready for JSON, and what is wrong with it."""

    facts: dict[str, object] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def broken(self, problem: str, remedy: str) -> None:
        """Add a finding without whose remedy something does not work."""
        self.findings.append(Finding(BROKEN, problem, remedy))

    def slow(self, problem: str, remedy: str) -> None:
        """Add a finding that costs only time."""
        self.findings.append(Finding(SLOW, problem, remedy))

    @property
    def status(self) -> int:
        """The exit status: 1 if something is broken, else 0."""
        return int(any(finding.severity == BROKEN for finding in self.findings))

    def json(self) -> str:
        """Return the facts as a JSON object, with a list ``findings``."""
        return json.dumps({**self.facts, "findings": [*map(asdict, self.findings)]}, indent=1)

    def text(self) -> str:
        """Return a line for each fact, then the findings."""
        width = max(map(len, self.facts), default=0)
        lines = [f"{name:{width}}  {_plain(value)}" for name, value in self.facts.items()]
        lines += [
            f"\n{finding.severity}: {finding.problem}\n  -> {finding.remedy}"
            for finding in self.findings
        ]
        return "\n".join(lines if self.findings else [*lines, "\nnothing is wrong"])


def _plain(value: object) -> str:
    if isinstance(value, dict):
        value = [f"{name} {entry}" for name, entry in value.items()]
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
