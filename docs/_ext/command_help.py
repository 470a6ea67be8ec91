"""Help texts of the command line, which the reference shows."""

from __future__ import annotations

import io
import os
import re
from contextlib import redirect_stdout, suppress
from pathlib import Path

from sparse_engine.lab.cli import main

PAGE = Path(__file__).resolve().parents[1] / "reference" / "command_line.md"


def help_of(command: str) -> str:
    """Return what ``sparse-engine COMMAND --help`` prints on a terminal of 90 columns."""
    os.environ["COLUMNS"] = "90"
    text = io.StringIO()
    with redirect_stdout(text), suppress(SystemExit):
        main([*command.split("_"), "--help"])
    return text.getvalue()


def write_texts(folder: Path) -> None:
    """Write a file for each help text that the page of the command line includes."""
    folder.mkdir(parents=True, exist_ok=True)
    for command in re.findall(r"help/([\w-]+)\.txt", PAGE.read_text()):
        (folder / f"{command}.txt").write_text(help_of(command))
