"""Look at an installed package from outside: ``python tests/installed.py``.

Needs torch, numpy and sparse_engine, and nothing else: no compiler, no pytest. Runs the first block
of the README.
"""

import re
import shutil
import sys
from pathlib import Path

import torch

import sparse_engine
from sparse_engine import machine

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print what is installed, and fail where it does not train."""
    found = Path(sparse_engine.__file__)
    assert ROOT not in found.parents or ".venv" in found.parts, f"found the sources at {found}"
    print(found, "with a compiler" if shutil.which("g++") else "without a compiler")
    print(sys.version, torch.__version__, machine.info())
    block = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    loss = names["loss"].item()
    assert loss < 0.02, f"expected a loss below 0.02, found {loss}"
    assert names["lstm"].weight_hh_l0.topology_version == 6


if __name__ == "__main__":
    main()
