"""Command line: ``sparse-engine train | resume | sweep | compare | reproduce | ...``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Union

from sparse_engine.extras import extra

with extra("train"):
    import tyro
    from scipy.sparse.linalg import ArpackError

from sparse_engine.lab.cli.analyze import Analyze
from sparse_engine.lab.cli.distance import Distance
from sparse_engine.lab.cli.look import Compare, Info, Reproduce, Watch, Wiring
from sparse_engine.lab.cli.sweep import Sweep
from sparse_engine.lab.cli.train import Resume, Train

DESCRIPTION = "Truly sparse recurrent networks: train, analyze, and see what they run on."

COMMANDS: dict[str, type] = {
    "train": Train,
    "resume": Resume,
    "reproduce": Reproduce,
    "sweep": Sweep,
    "compare": Compare,
    "analyze": Analyze,
    "distance": Distance,
    "wiring": Wiring,
    "watch": Watch,
    "info": Info,
}

# Errors that a user can correct: a value, a file, too large a network, a graph too symmetric for
# ARPACK.
MENDABLE = (ValueError, OSError, FloatingPointError, MemoryError, ArpackError)


def main(arguments: list[str] | None = None) -> int:
    """Run ``sparse-engine`` and return the exit status.

    Errors that a user can correct (a bad value, a missing or damaged file, too little memory, a
    closed pipe) print one line on stderr and give status 2.
    """
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _refuse("expected a reader of the output, found its pipe closed")
    except ModuleNotFoundError as error:
        return _refuse(
            f"expected the library {error.name}, found none; install it, or those of all commands "
            "and tasks with: pip install 'sparse_engine[all,tasks]'"
        )
    except MENDABLE as error:
        return _refuse(_reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"expected a file or folder {error.filename}, found none"
    return " ".join(str(error).split()) or type(error).__name__


def _run(arguments: list[str] | None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    prog, command = "sparse-engine", COMMANDS.get("".join(given[:1]))
    if command is not None:
        prog, given = f"sparse-engine {given[0]}", given[1:]
    try:
        made: Callable[[], int] = tyro.cli(
            command or _any_command(),
            prog=prog,
            description=None if command else DESCRIPTION,
            args=given,
            config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
        )
        return made()
    finally:
        _flush()


def _any_command() -> Any:
    return Union[  # noqa: UP007 - of types that are counted at run time
        tuple(
            Annotated[command, tyro.conf.subcommand(name, description=_first_line(command))]
            for name, command in COMMANDS.items()
        )
    ]


def _first_line(command: type) -> str:
    return (command.__doc__ or "").partition("\n\n")[0]


def _flush() -> None:
    """Flush stdout now, because a closed pipe or a full disk at exit would be a traceback."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        # The buffer still holds the output, and Python would try to write it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _refuse(reason: str) -> int:
    with suppress(OSError):  # stderr may be closed, too
        print(f"sparse-engine: {reason}", file=sys.stderr)
    return 2
