"""The microseconds that each kernel should take, from data sheets, bytes and instructions.

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

    @property
    def issue(self) -> float:
        """Instructions of warps per second: shared memory sends 128 bytes in a cycle."""
        return self.shared / 128 * ISSUED


H100 = Device(132, 227 << 10, 50 << 20, 3.35e12, 5.5e12, 132 * 128 * 1.755e9)
RTX_4090 = Device(128, 99 << 10, 72 << 20, 1.008e12, 5e12, 128 * 128 * 2.52e9)
DEVICES = {"H100": H100, "RTX 4090": RTX_4090}
BARRIER, LAUNCH = 2e-6, 3e-6
# Instructions of a warp for a batch of links and for a row, links of a lane in a batch, and how
# many a multiprocessor issues in a cycle, as csrc/cuda/products/tiles.cuh counts them.
OF_BATCH, OF_ROW, BATCH, ISSUED = 56, 80, 4, 3


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

    def issued(self, visits: int = 1) -> float:
        """Return the instructions of all warps, with each row visited so often in a panel."""
        batches = self.links * max(1, self.row // 16) / (32 * BATCH)
        return self.panels * (OF_BATCH * batches + OF_ROW * visits * self.rows)

    def gathered(self, on: Device) -> float:
        """Return the bytes of rows that are not in the first-level cache."""
        missed = max(0.0, 1 - on.tile // self.row / self.cols)
        return self.links * self.panels * self.sector * missed

    def staged(self, on: Device) -> tuple[float, float, float, float]:
        """Return what the best tiling takes, in bytes of the second-level cache, and of what.

        These are the bytes that it moves, those that it reads from shared memory, and its
        instructions; as csrc/cuda/products/tiles.cuh counts them.
        """
        fewest = -(-self.cols // (on.tile // self.row))
        found = []
        for most, turns in product(range(fewest, min(self.cols, fewest + 16) + 1), (1, 2)):
            cuts = max(1, min(turns * on.processors // (most * self.panels), -(-self.rows // 8)))
            columns = -(-self.cols // most)
            parts = -(-self.cols // columns)
            tiles = parts * cuts * self.panels
            copied = -(-tiles // on.processors) * on.processors
            moved = copied * (columns * self.row + self.rows * 2 * self.sector // cuts)
            read = copied * self.links * self.row / (parts * cuts)
            issued = copied * self.issued(parts) / tiles
            found.append((moved + max(read / 5, 8 * issued), moved, read, issued))
        return min(found)

    def stream(self, on: Device, bytes_of_link: int = 8, *, again: bool = False) -> float:
        """Return the seconds in which the links pass, from the cache where they stay there."""
        size = bytes_of_link * self.links
        return size / (on.cache if again and size < on.cached / 2 else on.memory)

    def is_staged(self, on: Device) -> bool:
        """Return whether a product is staged, by the count of bytes and instructions."""
        if self.cols <= on.tile // self.row:
            return False
        gathered = max(self.gathered(on), 8 * self.issued())
        return gathered > 1.5 * (self.staged(on)[0] + (10 << 20))

    def single(self, on: Device) -> float:
        """Return the seconds of a single product, with its launches."""
        # A staged one looks up where rows enter each part.
        return self.product(on) + (1 + self.is_staged(on)) * LAUNCH

    def product(self, on: Device, *, again: bool = False) -> float:
        """Return the seconds of a product, the way that is chosen."""
        passes = self.stream(on, again=again)
        if self.is_staged(on):
            _, moved, read, issued = self.staged(on)
            return moved / on.cache + max(read / on.shared, issued / on.issue) + passes + BARRIER
        near = self.links * self.panels * self.row / on.shared
        return max(near, self.gathered(on) / on.cache, self.issued() / on.issue) + passes

    def gradient(self, on: Device, steps: int) -> float:
        """Return the seconds of the gradient of the links over all steps, which gathers."""
        panels = steps * self.panels
        read = self.gathered(on) * steps + panels / 4 * 12 * self.links
        return max(read / on.cache, self.issued() * steps / on.issue)


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
