"""Scripts in processes of their own, forked from one that has imported torch and nothing run.

An import of torch takes two seconds, and dozens of tests need a process that they may limit, fork
or kill.
"""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["scipy.sparse", "sparse_engine.nn", "sparse_engine.analysis", "sparse_engine.lab.train"]
)


def run_script(
    text: str, *arguments: str, cwd: Path | None = None, timeout: float = 300
) -> subprocess.CompletedProcess:
    """Run Python code as ``python -c text arguments`` does, and return how it ended.

    Args:
        text: the code.
        *arguments: what ``sys.argv`` has after the name of the script.
        cwd: the working directory, from which the code can import.
        timeout: seconds after which the process is killed.
    """
    with TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("stdout", "stderr")]
        process = CONTEXT.Process(target=_run, args=(text, arguments, cwd, files))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(text, timeout)
        out, err = (file.read_text() for file in files)
    return subprocess.CompletedProcess(text, process.exitcode, out, err)


def _run(text: str, arguments: tuple[str, ...], cwd: Path | None, files: list[Path]) -> None:
    for stream, file in zip((sys.stdout, sys.stderr), files, strict=True):
        stream.flush()
        target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(target, stream.fileno())
    if cwd is not None:
        os.chdir(cwd)
        sys.path.insert(0, str(cwd))
    sys.argv = ["-c", *arguments]
    exec(compile(text, "<script>", "exec"), {"__name__": "__main__"})
