"""Draw docs/rewiring.gif: the adjacency matrix of a network while RigL rewires it.

The units lie on a ring, and the task, to copy a bump that moves around it, needs links between
neighbours only. Random links therefore give way to a band along the diagonal.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.animation import FuncAnimation, PillowWriter

from sparse_engine.lab import plot
from sparse_engine.nn import SparseLinear
from sparse_engine.topology import RigL


def main(out: Path = Path("docs/rewiring.gif"), units: int = 128, steps: int = 360) -> None:
    """Train and rewire units on a ring, and write the animation."""
    torch.manual_seed(0)
    layer = SparseLinear(units, units, density=0.05)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    every = max(1, steps // 30)
    rewiring = RigL(layer, optimizer, steps=steps, every=every, fraction=0.2)
    figure, axes = plt.subplots(figsize=(3.2, 3.2), dpi=80, layout="constrained")

    def draw(frame: int) -> None:
        for _ in range(every if frame else 0):
            x = torch.randn(64, units)
            target = x.roll(1, 1) - x.roll(-1, 1)
            optimizer.zero_grad()
            (layer(x) - target).square().mean().backward()
            optimizer.step()
            rewiring.step()
        axes.clear()
        plot.adjacency(layer.weight, axes)
        axes.set(title=f"step {frame * every}", xlabel="source", ylabel="target")
        for bar in figure.axes[1:]:
            bar.remove()

    frames = FuncAnimation(figure, draw, frames=steps // every, init_func=lambda: None)
    frames.save(out, writer=PillowWriter(fps=6))
    print(f"{out}: {out.stat().st_size / 1000:.0f} KB, {layer.weight}")


if __name__ == "__main__":
    main()
