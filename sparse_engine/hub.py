"""Models that the Hugging Face Hub keeps: saved and loaded with their wiring, as safetensors."""

from __future__ import annotations

from typing import Any, NoReturn

import torch

from sparse_engine.extras import extra

with extra("hub"):
    from huggingface_hub import PyTorchModelHubMixin


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"expected the name of a dtype, found {name!r}")
    return found


#: Arguments of a constructor that config.json has as text.
_CODERS = {torch.dtype: (str, _dtype), torch.device: (str, torch.device)}


class HubMixin(  # type: ignore[call-arg]
    PyTorchModelHubMixin, library_name="sparse_engine", tags=["sparse", "recurrent"]
):
    """Base of a model with ``save_pretrained``, ``from_pretrained`` and ``push_to_hub``.

    A model's folder has config.json, the arguments of its constructor, and model.safetensors, its
    state dict: of each sparse weight the values and the indices of its links, as they are after
    whatever rewiring, pruning or growth. :meth:`from_pretrained` gives back the same bits.

    It differs from huggingface_hub's mixin in two ways. A file that lacks an entry of the model, or
    has one too many, is an error unless ``strict=False`` is given. Weights in a pickle are not
    read, because loading a pickle may run any code.

    Example:
        >>> class Model(nn.Module, HubMixin):
        ...     def __init__(self, units: int, density: float) -> None:
        ...         super().__init__()
        ...         self.rnn = SparseRNN(8, units, density=density)
        >>> Model(256, 0.05).save_pretrained("folder")
        >>> model = Model.from_pretrained("folder")
    """

    def __init_subclass__(cls, *, coders: dict[type, Any] | None = None, **info: Any) -> None:
        """Add coders of the model's arguments to those of dtypes and devices."""
        super().__init_subclass__(coders={**_CODERS, **(coders or {})}, **info)

    @classmethod
    def _from_pretrained(cls, *, strict: bool = True, **others: Any) -> Any:
        return super()._from_pretrained(strict=strict, **others)

    @classmethod
    def _load_as_pickle(cls, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(
            "expected model.safetensors, found a pickle, which is not read: loading it may run any "
            "code; convert it where it was written"
        )
