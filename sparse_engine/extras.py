"""Libraries that the package needs for a part of what it does, and installs with an extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sparse_engine.errors import MissingLibrary

#: Options of pip for extras whose libraries are built against the torch that is there.
OPTIONS = {"torch-sparse": "--no-build-isolation "}


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Name the extra that installs a library, where an import within this context finds none.

    Args:
        name: name of the extra, such as ``analysis``.

    Example:
        >>> from sparse_engine.hub import extra
        >>> with extra("analysis"):
        ...     import networkx
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            f"expected the library {error.name}, found none; install it with: "
            f"pip install {OPTIONS.get(name, '')}'sparse_engine[{name}]'",
            name=error.name,
        ) from error
