"""Errors of the package that Python and torch do not have."""

from __future__ import annotations


class InputError(ValueError, RuntimeError):
    """An input that a module cannot take, for its shape, its dtype or its number of steps.

    For most of these mistakes ``torch.nn`` raises RuntimeError, Python ValueError: code that
    catches either finds this one.
    """


class WordError(ValueError, IndexError):
    """A word outside the vocabulary, for which ``torch.nn.Embedding`` raises IndexError."""
