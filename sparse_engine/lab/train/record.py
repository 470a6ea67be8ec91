"""JSON files with a hash of their contents."""

from __future__ import annotations

import hashlib
import json


def sealed(record: dict[str, object]) -> bytes:
    """Return a record as JSON with one more entry ``seal``, the hash of all others."""
    record = json.loads(json.dumps(record))
    return json.dumps(record | {"seal": _seal(record)}, indent=1).encode()


def unsealed(record: dict[str, object]) -> dict[str, object]:
    """Return the record that :func:`sealed` got, given its parsed JSON.

    Raises:
        ValueError: an entry was changed, added or removed.
    """
    record = dict(record)
    seal = record.pop("seal", None)
    if seal != _seal(record):
        raise ValueError(f"the seal is {seal}, not {_seal(record)}")
    return record


def _seal(record: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
