"""Command line: ``sparse-engine``, and as a module ``python -m sparse_engine``."""

from __future__ import annotations

import sys

import sparse_engine
from sparse_engine import c_library
from sparse_engine.errors import MissingLibrary


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, or the doctor where its commands cannot be imported.

    Returns:
        The exit status of the command, 1 after the report of a broken installation, 2 where only
        the libraries of an extra or the C library are missing, and 130 after Ctrl-C.
    """
    own = sys.argv[1:] if arguments is None else arguments
    if own == ["--version"]:
        print(f"sparse_engine {sparse_engine.__version__}")
        return 0
    if own == ["--c-flags"]:
        try:
            print(c_library.flags())
        except FileNotFoundError as error:
            print(f"sparse-engine: {error}", file=sys.stderr)
            return 2
        return 0
    try:
        from sparse_engine.lab.cli import main as run
    except KeyboardInterrupt:
        return 130
    except MissingLibrary as error:
        if own[:1] == ["info"]:
            return _consult(None, own)
        print(f"sparse-engine: {error}", file=sys.stderr)
        return 2
    except (ImportError, OSError) as error:
        return _consult(error, own)
    return run(arguments)


def _consult(error: ImportError | OSError | None, arguments: list[str]) -> int:
    """Print the doctor's report, perhaps as JSON; return 1 where something is broken."""
    from sparse_engine.lab import doctor

    report = doctor.examine()
    if error is not None and not report.status:
        report.broken(f"the command line cannot be imported: {error}", "install what is missing")
    as_json = arguments[:1] == ["info"] and "--json" in arguments
    healthy = as_json or report.status == 0
    print(report.json() if as_json else report.text(), file=None if healthy else sys.stderr)
    return report.status


if __name__ == "__main__":
    sys.exit(main())
