"""Commands with a subcommand for each task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Union

import tyro

from sparse_engine.lab.tasks import TASKS


def per_task(command: type, make: Callable[[str], object]) -> Any:
    """Return the type of a command for every task of the registry, for tyro.

    Args:
        command: class of the command.
        make: function from the name of a task to the command with its defaults.
    """
    commands = (
        Annotated[command, tyro.conf.subcommand(name, default=make(name), description=task.summary)]
        for name, task in TASKS.items()
    )
    return Union[tuple(commands)]  # noqa: UP007
