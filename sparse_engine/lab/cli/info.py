"""Command ``sparse-engine info``: what is installed, what is wrong with it, what to do."""

from __future__ import annotations

from dataclasses import dataclass

from sparse_engine.lab import doctor


@dataclass(frozen=True)
class Info:
    """Print what this installation consists of, what is wrong with it, and what to do about that.

    The exit status is 1 if something is broken. Where the other commands cannot be imported, they
    print this report, too.

    Args:
        json: Print a JSON object, for other programs.
    """

    json: bool = False

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        report = doctor.examine()
        print(report.json() if self.json else report.text())
        return report.status
