"""The microseconds that each kernel should take, from data sheets and the bytes that it moves.

`python -m benchmarks.gpu.model` prints the table of csrc/README.md. Nothing in it is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Device:
    """Rates of a device in bytes per second, and sizes in bytes.

    Attributes:
        processors: multiprocessors.
        tile: shared memory that a block can have.
        cached: size of the second-level cache.
        memory: rate of a copy from memory.
        cache: rate of the second-level cache.
        shared: rate of the shared memory of all multiprocessors.
    """

    processors: int
    tile: int
    cached: int
    memory: float
    cache: float
    shared: float


H100 = Device(132, 227 << 10, 50 << 20, 3.35e12, 5.5e12, 132 * 128 * 1.755e9)
RTX_4090 = Device(128, 99 << 10, 72 << 20, 1.008e12, 5e12, 128 * 128 * 2.52e9)
DEVICES = {"H100": H100, "RTX 4090": RTX_4090}
BARRIER, LAUNCH = 2e-6, 3e-6


def device_called(name: str) -> Device | None:
    """Return the device of a name such as that which CUDA says, if its rates are known."""
    return next((device for known, device in DEVICES.items() if known in name), None)


@dataclass(frozen=True)
class Weight:
    """A sparse matrix of a recurrent layer, and the columns that it is multiplied with."""

    rows: int
    cols: int
    links: float
    batch: int

    @property
    def panels(self) -> int:
        """The number of panels of at most 32 columns."""
        return -(-self.batch // 32)

    @property
    def row(self) -> int:
        """Bytes of a row of a panel."""
        return 4 * min(self.batch, 32)

    @property
    def sector(self) -> int:
        """Bytes that are read with such a row."""
        return -(-self.row // 32) * 32

    def gathered(self, on: Device) -> float:
        """Return the bytes of rows that are not in the first-level cache."""
        missed = max(0.0, 1 - on.tile // self.row / self.cols)
        return self.links * self.panels * self.sector * missed

    def staged(self, on: Device, *, of_row: int, in_turn: int = 0) -> tuple[float, float]:
        """Return bytes from the second-level cache and from shared memory, of the best tiling.

        As csrc/cuda/products/tiles.cuh counts them; with ``in_turn`` panels in turn.
        """
        fewest = -(-self.cols // (on.tile // self.row))
        found = []
        for parts, turns in product(range(fewest, fewest + 17), (1, 2)):
            tiles = parts if in_turn else parts * self.panels
            cuts = max(1, turns * on.processors // tiles)
            copied = (in_turn or 1) * -(-tiles * cuts // on.processors) * on.processors
            moved = copied * (-(-self.cols // parts) * self.row + self.rows * of_row / cuts)
            read = copied * self.links * self.row / (parts * cuts)
            found.append((moved + read / 5, moved, read))
        return min(found)[1:]

    def stream(self, on: Device, bytes_of_link: int = 8, *, again: bool = False) -> float:
        """Return the seconds in which the links pass, from the cache where they stay there."""
        size = bytes_of_link * self.links
        return size / (on.cache if again and size < on.cached / 2 else on.memory)

    def is_staged(self, on: Device) -> bool:
        """Return whether a product is staged, by the count of bytes."""
        moved, _ = self.staged(on, of_row=2 * self.sector)
        return self.gathered(on) > 2 * (moved + (10 << 20))

    def single(self, on: Device) -> float:
        """Return the seconds of a single product, with its launches."""
        # A staged one looks up where rows enter each part.
        return self.product(on) + (1 + self.is_staged(on)) * LAUNCH

    def product(self, on: Device, *, again: bool = False) -> float:
        """Return the seconds of a product, the way that is better by the count of bytes."""
        gathered = self.gathered(on)
        passes = self.stream(on, again=again)
        if self.is_staged(on):
            moved, read = self.staged(on, of_row=2 * self.sector)
            return moved / on.cache + read / on.shared + passes + BARRIER
        near = self.links * self.panels * self.row / on.shared
        return max(near, gathered / on.cache) + passes

    def gradient(self, on: Device, steps: int) -> float:
        """Return the seconds of the gradient of the links over all steps."""
        panels = steps * self.panels
        gathered = self.gathered(on) * steps
        moved, read = self.staged(on, of_row=self.row, in_turn=panels)
        if gathered > 2 * (moved + (10 << 20)):
            passes = panels * 12 * self.links
            return moved / on.cache + read / on.shared + passes / on.cache
        return (gathered + panels / 4 * 12 * self.links) / on.cache


def training_step(hidden: int, density: float, gates: int, on: Device, steps: int = 50) -> float:
    """Return the seconds of a training step of a layer with a batch of 32."""
    links, batch = density * gates * hidden**2, 32
    forward = Weight(gates * hidden, hidden, links, batch)
    backward = Weight(hidden, gates * hidden, links, batch)
    states = 4.0 * hidden * batch  # bytes
    # Bytes that cells read and write, and that conversions to panels and back move, both ways.
    cells = (6 * gates + 6) * states * steps / on.cache
    turned = 2 * (6 * gates + 6 if gates > 1 else 6) * states * steps / on.memory
    loops = steps * (forward.product(on, again=True) + backward.product(on, again=True))
    return loops + 2 * steps * BARRIER + cells + turned + forward.gradient(on, steps) + 20 * LAUNCH


def rows() -> list[list[str]]:
    """The lines of the table: what is computed, and microseconds for each device."""
    lines = []
    for (neurons, density), batch in [
        *product([(16_384, 0.05), (16_384, 0.01)], [32, 128]),
        *product([(100_000, 0.001)], [1, 32, 128]),
    ]:
        weight = Weight(neurons, neurons, density * neurons**2, batch)
        times = [1e6 * weight.single(on) for on in DEVICES.values()]
        lines.append([f"SpMM {neurons}, {100 * density:g} %, B = {batch}", *as_text(times)])
    for neurons, density in [(16_384, 0.01), (16_384, 0.001)]:
        weight = Weight(neurons, neurons, density * neurons**2, 32)
        times = [1e6 * weight.gradient(on, 50) for on in DEVICES.values()]
        lines.append([f"gradient {neurons}, {100 * density:g} %, T = 50", *as_text(times)])
    for name, hidden, density, gates in [
        *(("RNN", 16_384, density, 1) for density in (0.05, 0.01, 0.001)),
        ("LSTM", 4096, 0.01, 4),
    ]:
        times = [1e6 * training_step(hidden, density, gates, on) for on in DEVICES.values()]
        lines.append([f"{name} {hidden}, {100 * density:g} %, T = 50", *as_text(times)])
    return lines


def as_text(times: list[float]) -> list[str]:
    """Two digits are more than the model is worth."""
    return [f"{float(f'{time:.2g}'):g}" for time in times]


def table() -> str:
    """The table as Markdown."""
    head = [["", *(f"{name}, us" for name in DEVICES)], ["---"] * 3]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*head, *rows()])


if __name__ == "__main__":
    print(table())
