"""Checkpoints: tensors in one safetensors file, everything else in one JSON file.

The JSON file names its tensor file and holds its hash, and is replaced last. A run that is killed
at any moment leaves the previous pair or the new one, never a mixture.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from sparse_engine.files import write_atomically

FORMAT = "sparse_engine.checkpoint"
VERSION = 1
TENSOR_FILES = f"checkpoint-{'[0-9]' * 8}.safetensors"
REMEDY = "restore the folder from a copy, or start again in an empty one"


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or of something else."""


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on as if it had never stopped.

    Attributes:
        step: training steps taken.
        model: the model's state_dict.
        optimizer: the optimizer's state_dict.
        rule: the rewiring rule's state_dict.
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict
    rule: dict

    @classmethod
    def of(cls, step: int, model: nn.Module, optimizer: Optimizer, rule) -> Checkpoint:
        """The state of a run now."""
        return cls(step, model.state_dict(), optimizer.state_dict(), rule.state_dict())

    def restore(self, model: nn.Module, optimizer: Optimizer, rule) -> None:
        """Puts the state into a run that was set up the same way.

        Raises:
            CheckpointError: the run was set up differently; it may hold parts of the state then.
        """
        try:
            model.load_state_dict(self.model)
            optimizer.load_state_dict(self.optimizer)
            _check_state(optimizer)
            rule.load_state_dict(self.rule)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            found = " ".join(str(error).split())
            raise CheckpointError(
                f"expected the checkpoint of a run set up like this one, found: {found}"
            ) from error

    def save(self, folder: Path) -> None:
        """Writes the checkpoint into a folder, in place of the one before."""
        tensors = {f"model.{name}": value.contiguous() for name, value in self.model.items()}
        scalars: dict[str, dict[str, object]] = {}
        for slot, entries in self.optimizer["state"].items():
            for name, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{slot}.{name}"] = value.contiguous()
                else:
                    scalars.setdefault(str(slot), {})[name] = value
        rule = dict(self.rule)
        for name, value in self.rule.items():
            if isinstance(value, Tensor):
                # A copy: what weights noted of their gradients they may share, a file may not.
                tensors[f"rule.{name}"] = rule.pop(name).clone(
                    memory_format=torch.contiguous_format
                )
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
            "rule": rule,
        }
        write_atomically(folder / "checkpoint.json", json.dumps(record, indent=1).encode())
        for stale in [*folder.glob(TENSOR_FILES), *folder.glob(f".{TENSOR_FILES}.partial")]:
            if stale.name != tensor_file:
                stale.unlink()

    @classmethod
    def load(cls, folder: Path) -> Checkpoint:
        """Reads the checkpoint of a folder, and trusts nothing in it.

        Raises:
            CheckpointError: there is none, or a file is truncated, damaged or foreign.
        """
        path = folder / "checkpoint.json"
        try:
            record = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise CheckpointError(
                f"expected a checkpoint in {folder}, found no checkpoint.json; "
                "start again in an empty folder"
            ) from None
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"expected JSON in {path}, found: {error}; {REMEDY}") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise CheckpointError(
                f"expected a checkpoint of sparse_engine in {path}, found something else; {REMEDY}"
            )
        if record.get("version") != VERSION:
            raise CheckpointError(
                f"expected checkpoint version {VERSION} in {path}, found {record.get('version')}; "
                "go on with the release of sparse_engine that wrote it"
            )
        try:
            tensors = _tensors(folder / Path(record["tensors"]).name, record["sha256"])
            state: dict[int, dict] = {
                int(slot): dict(entries) for slot, entries in record["optimizer"]["scalars"].items()
            }
            model, rule = {}, dict(record["rule"])
            for name, value in tensors.items():
                kind, rest = name.split(".", 1)
                if kind == "model":
                    model[rest] = value
                elif kind == "rule":
                    rule[rest] = value
                else:
                    slot, entry = rest.split(".", 1)
                    state.setdefault(int(slot), {})[entry] = value
            groups = record["optimizer"]["param_groups"]
            optimizer = {"state": state, "param_groups": groups}
            step = record["step"]
            if not isinstance(step, int) or step < 0:
                raise ValueError(f"step {step}")
            return cls(step, model, optimizer, rule)
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"expected a complete checkpoint in {path}, found it wrong at: {error}; {REMEDY}"
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


def _check_state(optimizer: Optimizer) -> None:
    """Checks that state fits its parameter, which ``load_state_dict`` does not.

    Entries may have one value per row or column, as in Adafactor, or a single one.
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
