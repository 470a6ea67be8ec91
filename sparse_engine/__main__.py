"""Command line: ``sparse-engine``, and as a module ``python -m sparse_engine``."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, or the doctor where its commands cannot be imported.

    Returns:
        The exit status of the command, and 1 after the report of a broken installation.
    """
    try:
        from sparse_engine.cli import main as run
    except (ImportError, OSError) as error:
        return _consult(error, sys.argv[1:] if arguments is None else arguments)
    return run(arguments)


def _consult(error: ImportError | OSError, arguments: list[str]) -> int:
    """Print what is wrong with an installation, as JSON if that was asked for."""
    from sparse_engine import doctor

    report = doctor.examine()
    if not report.status:
        report.broken(f"the command line cannot be imported: {error}", "install what is missing")
    as_json = arguments[:1] == ["info"] and "--json" in arguments
    print(report.json() if as_json else report.text(), file=None if as_json else sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
