"""Checkpoints: tensors in a safetensors file, everything else in a JSON file.

The JSON file has the name and the hash of its tensor file, and is replaced last. A run that is
killed at any moment leaves the previous pair of files or the new pair.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from sparse_engine.files import write_atomically
from sparse_engine.topology import Rewiring

FORMAT = "sparse_engine.checkpoint"
VERSION = 1
TENSOR_FILE = r"checkpoint-\d{8,}\.safetensors"
REMEDY = "restore the folder from a copy, or start again in an empty one"


class CheckpointError(ValueError):
    """Checkpoint that is missing, damaged, or not of this run."""


@dataclass(frozen=True)
class Checkpoint:
    """State of a run after some steps, from which it resumes as if it had never stopped.

    ``model``, ``optimizer``, ``rewiring`` and ``scheduler`` are state_dicts, ``config`` has the
    settings that define the run, and ``memory`` the task's tensors that last from step to step,
    and ``learner`` the state_dict of a learner of :mod:`sparse_engine.online`.
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict
    rewiring: dict
    config: dict[str, object] = field(default_factory=dict)
    memory: dict[str, Tensor] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    learner: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, step: int, model: nn.Module, optimizer: Optimizer, rewiring: Rewiring, **run: Any
    ) -> Checkpoint:
        """Return the state of a run now; ``run`` may have the other attributes."""
        state = model.state_dict(), optimizer.state_dict(), rewiring.state_dict()
        return cls(step, *state, **run)

    def restore(self, model: nn.Module, optimizer: Optimizer, rewiring: Rewiring) -> None:
        """Load the state into a run that was set up in the same way."""
        try:
            model.load_state_dict(self.model)
            optimizer.load_state_dict(self.optimizer)
            rewiring.load_state_dict(self.rewiring)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            found = " ".join(str(error).split())
            raise CheckpointError(
                f"expected the checkpoint of a run set up like this one, found: {found}"
            ) from error

    def save(self, folder: Path) -> None:
        """Write the checkpoint into a folder, in place of the previous one."""
        entries: dict[str, Any] = {f"model.{name}": value for name, value in self.model.items()}
        for slot, state in self.optimizer["state"].items():
            entries |= {f"optimizer.{slot}.{name}": value for name, value in state.items()}
        entries |= {f"rewiring.{name}": value for name, value in self.rewiring.items()}
        entries |= {f"memory.{name}": value.detach() for name, value in self.memory.items()}
        entries |= {f"learner.{name}": value for name, value in self.learner.items()}
        tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
        content = save_tensors(unshare_memory(tensors))
        tensor_file = f"checkpoint-{self.step:08d}.safetensors"
        write_atomically(folder / tensor_file, content)
        record = {
            "format": FORMAT,
            "version": VERSION,
            "step": self.step,
            "tensors": tensor_file,
            "sha256": hashlib.sha256(content).hexdigest(),
            "values": {name: value for name, value in entries.items() if name not in tensors},
            "param_groups": self.optimizer["param_groups"],
            "config": self.config,
            "scheduler": self.scheduler,
        }
        write_atomically(folder / "checkpoint.json", json.dumps(record, indent=1).encode())
        for path in folder.iterdir():
            stale = re.fullmatch(rf"{TENSOR_FILE}|\.{TENSOR_FILE}\.partial", path.name)
            if stale and path.name != tensor_file:
                path.unlink()

    @classmethod
    def load(cls, folder: Path) -> Checkpoint:
        """Read the checkpoint of a folder."""
        path = folder / "checkpoint.json"
        try:
            record = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise CheckpointError(
                f"expected a checkpoint in {folder}, found no checkpoint.json; "
                "start again in an empty folder, or restore this one from a copy"
            ) from None
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"expected JSON in {path}, found: {error}; {REMEDY}") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise CheckpointError(
                f"expected a checkpoint of sparse_engine in {path}, found something else; {REMEDY}"
            )
        if record.get("version") != VERSION:
            raise CheckpointError(
                f"expected checkpoint version {VERSION} in {path}, found "
                f"{record.get('version')}; go on with the release of sparse_engine that wrote it"
            )
        try:
            return cls._of_record(record, folder)
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"expected a complete checkpoint in {path}, found it wrong at: {error}; {REMEDY}"
            ) from error

    @classmethod
    def _of_record(cls, record: dict[str, Any], folder: Path) -> Checkpoint:
        tensors = _tensors(folder / Path(record["tensors"]).name, record["sha256"])
        parts: dict[str, dict] = {
            name: {} for name in ("model", "optimizer", "rewiring", "memory", "learner")
        }
        for name, value in {**record["values"], **tensors}.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = value
        state: dict[int, dict] = {}
        for name, value in parts["optimizer"].items():
            slot, _, entry = name.partition(".")
            state.setdefault(int(slot), {})[entry] = value
        step = record["step"]
        if not isinstance(step, int) or step < 0:
            raise ValueError(f"step {step}")
        return cls(
            step,
            parts["model"],
            {"state": state, "param_groups": record["param_groups"]},
            parts["rewiring"],
            dict(record["config"]),
            parts["memory"],
            dict(record["scheduler"]),
            parts["learner"],
        )


def unshare_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors contiguous, and each in memory of its own, as a file needs them."""
    seen: set[int] = set()
    separated = {}
    for name, value in tensors.items():
        storage = value.untyped_storage().data_ptr()
        separated[name] = (value.clone() if storage in seen else value).contiguous()
        seen.add(storage)
    return separated


def _tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"expected the tensors in {path}, found no such file; {REMEDY}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(
            f"expected {path} as it was written, found it truncated or changed; {REMEDY}"
        )
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(
            f"expected safetensors in {path}, found: {error}; {REMEDY}"
        ) from error
