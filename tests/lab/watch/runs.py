"""Folders of runs for the tests of the page, and a server of them."""

import json
import threading
from contextlib import contextmanager

import torch
from safetensors.torch import save_file

from sparse_engine.lab.watch import Runs, serve
from sparse_engine.nn import SparseLinear


def make_run(folder, *, name="recurrent", steps=(10, 20, 30), config=None):
    """Write the files of a run with one weight of 40 rows and 30 columns; return its links."""
    folder.mkdir(parents=True)
    layer = SparseLinear(30, 40, density=0.1, generator=torch.Generator().manual_seed(0))
    (folder / "config.json").write_text(json.dumps(config or {"steps": 30, "seed": 0}))
    metrics = [{"step": step, "loss": 1 / step, "validation": {"accuracy": 0.5}} for step in steps]
    records = [
        {"step": step, "weight": name, "density": 0.1, "turnover": 0.2, "pooled": 0.6}
        for step in steps
    ]
    write_lines(folder / "metrics.jsonl", metrics)
    write_lines(folder / "topology.jsonl", records)
    state = {f"model.{name}.{entry}": value for entry, value in layer.weight.state_dict().items()}
    save_file(state, folder / f"checkpoint-{steps[-1]:08d}.safetensors")
    return layer.weight


def write_lines(path, entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@contextmanager
def served(root):
    with serve(Runs(root), port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
