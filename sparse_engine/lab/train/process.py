"""What a run does to its process meanwhile: signals are noted, and small models have one thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

#: Parameters below which torch shares no element-wise operation of a step out among threads.
SMALL = 32_768


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C or SIGTERM came, in place of an exception."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in signals}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def useful_threads(model: nn.Module) -> Iterator[None]:
    """Let torch have one thread meanwhile if the model is small.

    Torch wakes a second thread for products and losses of a few thousand numbers, too. Where other
    processes want the processors, it waits for that thread in each of dozens of operations in a
    step, for milliseconds: a step then takes twenty times as long as with one thread.
    """
    before = torch.get_num_threads()
    if sum(parameter.numel() for parameter in model.parameters()) < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
