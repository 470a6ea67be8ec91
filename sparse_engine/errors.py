"""Exceptions of the package."""

from __future__ import annotations


class InputError(ValueError, RuntimeError):
    """Input of a module with a wrong shape, dtype or number of steps.

    ``torch.nn`` raises RuntimeError for most of these mistakes, and Python code expects ValueError;
    code that catches either of them catches this one.
    """


class WordError(ValueError, IndexError):
    """Word outside the vocabulary, for which ``torch.nn.Embedding`` raises IndexError."""


class EdgeListError(ValueError):
    """File that is no valid edge list; the message names the line."""


class TableError(ValueError):
    """Table of a connectome that is not valid; the message names the file, the row and column.

    Example:
        >>> try:
        ...     from_table([1], [2], [-5])
        ... except TableError as error:
        ...     print(str(error)[:43])
        expected numbers of synapses of at least 0
    """


class MissingLibrary(ImportError):
    """Library of an extra that is not installed; the message says how to install it."""
