"""JSON files that hold the hash of what they say."""

from __future__ import annotations

import hashlib
import json


def sealed(record: dict[str, object]) -> bytes:
    """Returns the record as JSON with one more entry, ``seal``, the hash of all others."""
    record = json.loads(json.dumps(record))
    return json.dumps(record | {"seal": _seal(record)}, indent=1).encode()


def unsealed(record: dict[str, object]) -> dict[str, object]:
    """Returns what :func:`sealed` was given, from its JSON.

    Raises:
        ValueError: an entry has been changed, added or removed since.
    """
    record = dict(record)
    seal = record.pop("seal", None)
    if seal != _seal(record):
        raise ValueError(f"the seal is {seal}, not {_seal(record)}")
    return record


def _seal(record: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
