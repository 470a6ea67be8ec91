"""Checkpoints: tensors in a safetensors file, everything else in a JSON file.

The JSON file has the name and the hash of its tensor file and a hash of itself, and is replaced
last. A run that is killed at any moment leaves the previous pair of files or the new pair.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from sparse_engine.files import write_atomically
from sparse_engine.lab.train.record import sealed, unsealed
from sparse_engine.topology import Rewiring

FORMAT = "sparse_engine.checkpoint"
VERSION = 3
TENSOR_FILE = r"checkpoint-\d{8,}\.safetensors"
#: Entries of the JSON file in each version, where "rule" is the rewiring. Version 1 has no hash of
#: the JSON file itself. Version 3 adds what lasts from step to step beside the model: the
#: task's memory and the schedule of the learning rate.
ENTRIES = {1: {"format", "version", "step", "tensors", "sha256", "optimizer", "rule"}}
ENTRIES[2] = ENTRIES[1] | {"config", "logs"}
ENTRIES[3] = ENTRIES[2] | {"scheduler"}
REMEDY = "restore the folder from a copy, or start again in an empty one"


class CheckpointError(ValueError):
    """Checkpoint that is missing, damaged, or not of this run."""


@dataclass(frozen=True)
class Checkpoint:
    """State of a run, from which it resumes as if it had never stopped.

    Attributes:
        step: training steps taken.
        model: the model's state_dict.
        optimizer: the optimizer's state_dict.
        rewiring: the rewiring's state_dict.
        config: the settings that define the run; empty in checkpoints of version 1.
        logs: hash of each log up to this step, by file name; empty in checkpoints of version 1.
        memory: the task's tensors that last from step to step; empty before version 3.
        scheduler: state of the schedule of the learning rate; empty before version 3.
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict
    rewiring: dict
    config: dict[str, object] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    memory: dict[str, Tensor] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, step: int, model: nn.Module, optimizer: Optimizer, rewiring: Rewiring, **run: Any
    ) -> Checkpoint:
        """Return the state of a run now; ``run`` may have its ``config`` and ``logs``."""
        state = model.state_dict(), optimizer.state_dict(), rewiring.state_dict()
        return cls(step, *state, **run)

    def restore(self, model: nn.Module, optimizer: Optimizer, rewiring: Rewiring) -> None:
        """Load the state into a run that was set up in the same way.

        Raises:
            CheckpointError: the run was set up differently, and may now have parts of the state.
        """
        try:
            model.load_state_dict(self.model)
            wanted = [set(group) for group in optimizer.param_groups]
            optimizer.load_state_dict(self.optimizer)
            _check_groups(optimizer, wanted)
            _check_state(optimizer)
            rewiring.load_state_dict(self.rewiring)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            found = " ".join(str(error).split())
            raise CheckpointError(
                f"expected the checkpoint of a run set up like this one, found: {found}"
            ) from error

    def save(self, folder: Path) -> None:
        """Write the checkpoint into a folder, in place of the previous one.

        Raises:
            OSError: a file cannot be written, as on a full disk; the previous checkpoint stays.
        """
        tensors = {f"model.{name}": value for name, value in separate(self.model).items()}
        scalars: dict[str, dict[str, object]] = {}
        for slot, entries in self.optimizer["state"].items():
            for name, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{slot}.{name}"] = value.contiguous()
                else:
                    scalars.setdefault(str(slot), {})[name] = value
        rewiring = dict(self.rewiring)
        for name, value in self.rewiring.items():
            if isinstance(value, Tensor):
                # Captured factors of several weights may share memory, which a file may not.
                tensors[f"rule.{name}"] = rewiring.pop(name).clone(
                    memory_format=torch.contiguous_format
                )
        for name, value in self.memory.items():
            tensors[f"memory.{name}"] = value.detach().clone(memory_format=torch.contiguous_format)
        content = save_tensors(tensors)
        tensor_file = f"checkpoint-{self.step:08d}.safetensors"
        write_atomically(folder / tensor_file, content)
        record = {
            "format": FORMAT,
            "version": VERSION,
            "step": self.step,
            "tensors": tensor_file,
            "sha256": hashlib.sha256(content).hexdigest(),
            "optimizer": {"scalars": scalars, "param_groups": self.optimizer["param_groups"]},
            "rule": rewiring,
            "config": self.config,
            "logs": self.logs,
            "scheduler": self.scheduler,
        }
        write_atomically(folder / "checkpoint.json", sealed(record))
        for path in folder.iterdir():
            stale = re.fullmatch(rf"{TENSOR_FILE}|\.{TENSOR_FILE}\.partial", path.name)
            if stale and path.name != tensor_file:
                path.unlink()

    @classmethod
    def load(cls, folder: Path) -> Checkpoint:
        """Read the checkpoint of a folder, and validate it completely.

        Raises:
            CheckpointError: no checkpoint, or a truncated, damaged or foreign file.
        """
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
        version = record.get("version")
        if not isinstance(version, int) or version not in ENTRIES:
            raise CheckpointError(
                f"expected checkpoint version 1 to {VERSION} in {path}, found {version}; "
                "go on with the release of sparse_engine that wrote it"
            )
        try:
            if version > 1:
                record = _unsealed(record, path)
            if record.keys() != ENTRIES[version]:
                raise ValueError(f"entries {sorted(record.keys() ^ ENTRIES[version])}")
            tensors = _tensors(folder / Path(record["tensors"]).name, record["sha256"])
            state: dict[int, dict] = {
                int(slot): dict(entries) for slot, entries in record["optimizer"]["scalars"].items()
            }
            model, memory, rewiring = {}, {}, dict(record["rule"])
            for name, value in tensors.items():
                kind, rest = name.split(".", 1)
                if kind == "model":
                    model[rest] = value
                elif kind == "rule":
                    rewiring[rest] = value
                elif kind == "memory":
                    memory[rest] = value
                else:
                    slot, entry = rest.split(".", 1)
                    state.setdefault(int(slot), {})[entry] = value
            groups = record["optimizer"]["param_groups"]
            optimizer = {"state": state, "param_groups": groups}
            step = record["step"]
            if not isinstance(step, int) or step < 0:
                raise ValueError(f"step {step}")
            run = {name: dict(record.get(name, {})) for name in ("config", "logs", "scheduler")}
            return cls(step, model, optimizer, rewiring, **run, memory=memory)
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"expected a complete checkpoint in {path}, found it wrong at: {error}; {REMEDY}"
            ) from error


def separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a model's state_dict, contiguous, each in memory of its own.

    Tied weights share memory, which a file may not.
    """
    seen: set[int] = set()
    tensors = {}
    for name, value in state.items():
        tensors[name] = value.clone() if value.data_ptr() in seen else value.contiguous()
        seen.add(value.data_ptr())
    return tensors


def _unsealed(record: dict, path: Path) -> dict:
    try:
        return unsealed(record)
    except ValueError as error:
        raise CheckpointError(
            f"expected {path} as it was written, found it changed; {REMEDY}"
        ) from error


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


def _check_groups(optimizer: Optimizer, wanted: list[set[str]]) -> None:
    """Raise ValueError for missing hyperparameters, which ``load_state_dict`` accepts."""
    for names, group in zip(wanted, optimizer.param_groups, strict=True):
        if missing := sorted(names - group.keys()):
            raise ValueError(f"expected parameter groups of {sorted(names)}, found no {missing}")


def _check_state(optimizer: Optimizer) -> None:
    """Raise ValueError for state that does not fit; ``load_state_dict`` accepts such state.

    An entry may have one value for each row or column, as in Adafactor, or a single value.
    """
    for parameter, entries in optimizer.state.items():
        if not isinstance(parameter, Tensor):
            raise ValueError(f"optimizer state of a parameter {parameter} that does not exist")
        for name, value in entries.items():
            if not isinstance(value, Tensor):
                continue
            if torch.broadcast_shapes(value.shape, parameter.shape) != parameter.shape:
                raise ValueError(
                    f"expected optimizer state {name} of shape {[*parameter.shape]}, "
                    f"found {[*value.shape]}"
                )
