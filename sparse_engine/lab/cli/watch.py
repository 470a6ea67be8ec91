"""Command ``sparse-engine watch``: a page on this machine that shows runs while they train."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sparse_engine.lab.watch import Runs, serve


@dataclass(frozen=True)
class Watch:
    """Serve a page with the curves and the wiring of runs while they train, on this machine only.

    Example: sparse-engine watch runs

    Args:
        folder: Folder of a run, or of runs.
        port: Port; 0 for one that is free.
        open: Open the page in a browser.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    port: int = 8474
    open: bool = False

    def __call__(self) -> int:
        """Serve until Ctrl-C, and return the exit status."""
        if not 0 <= self.port < 2**16:
            raise ValueError(f"expected --port in [0, 65535], found {self.port}")
        with serve(Runs(self.folder), self.port) as server:
            address = f"http://127.0.0.1:{server.server_port}/"
            print(f"{self.folder} at {address} (Ctrl-C ends)", flush=True)
            if self.open:
                webbrowser.open(address)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print()
        return 0
