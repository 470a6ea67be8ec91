"""The command ``train`` under torchrun: ranks that are killed, and resumed in other numbers."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from os import environ, kill
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
STEPS = 120
SETTINGS = ["--steps", STEPS, "--every", 15, "--evaluate-every", 30, "--save-every", 8]
SETTINGS += ["--batch-size", 30, "--hidden", 32, "--method", "rigl"]


def torchrun(folder, ranks, *options):
    """A torchrun with ranks that train."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", ranks]
    command += ["-m", "sparse_engine", "train", "digits", "--out", folder, *SETTINGS, *options]
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env={**environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(folder, ranks, *options):
    """Train to the end, and return what was printed."""
    started = torchrun(folder, ranks, *options)
    printed, _ = started.communicate(timeout=180)
    assert started.returncode == 0, printed
    assert printed.count("written to") == 1, "one rank prints"
    return printed


def children(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found]


def saved_step(folder):
    path = folder / "checkpoint.json"
    return json.loads(path.read_bytes())["step"] if path.exists() else -1


def kill_one_rank(folder, ranks):
    """Kill a random rank at a random moment after a save; return what was printed."""
    started = torchrun(folder, ranks)
    while saved_step(folder) < 8 and started.poll() is None:
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.4))
    kill(random.choice(children(started.pid)), signal.SIGKILL)
    began = time.monotonic()
    printed, _ = started.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert started.returncode != 0
    return printed


def state(folder):
    (path,) = folder.glob("checkpoint-*.safetensors")
    assert path.name == f"checkpoint-{STEPS:08d}.safetensors"
    return load_file(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of two ranks that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(folder, 2)
    return folder


def test_a_killed_rank_ends_the_job_and_the_run_is_resumed(whole, tmp_path):
    folder = tmp_path / "run"
    printed = kill_one_rank(folder, 2)
    assert "SIGKILL" in printed or "Signal 9" in printed
    step = saved_step(folder)
    assert 0 < step < STEPS
    for ranks in (1, 3):
        shutil.copytree(folder, tmp_path / f"{ranks}")
    assert f"{STEPS}/{STEPS}" in finish(folder, 2, "--resume")
    for name in ("metrics.jsonl", "topology.jsonl", "best.safetensors"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    wanted, found = state(whole), state(folder)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(each, wanted[name]) for name, each in found.items())
    for ranks in (1, 3):
        finish(tmp_path / f"{ranks}", ranks, "--resume")
        found = state(tmp_path / f"{ranks}")
        for name, each in found.items():
            torch.testing.assert_close(each, wanted[name], rtol=1e-3, atol=1e-4, msg=name)


def test_ranks_take_the_steps_of_one_process(whole, tmp_path):
    """Each rank has its share of every batch, and the mean of the shares is the batch's."""
    finish(tmp_path / "run", 1)
    wanted, found = state(tmp_path / "run"), state(whole)
    for name, each in found.items():
        torch.testing.assert_close(each, wanted[name], rtol=1e-3, atol=1e-4, msg=name)
    lines = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (whole, tmp_path / "run")
    ]
    assert [each["nnz"] for each in lines[0]] == [each["nnz"] for each in lines[1]]
    losses = [[each["loss"] for each in entries] for entries in lines]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", 31], "expected a batch that 2 ranks share equally, found 31 examples"),
        (["--every", STEPS], "expected a rewiring before the last"),
    ],
)
def test_what_is_refused_is_refused_on_all_ranks_and_leaves_no_folder(options, message, tmp_path):
    started = torchrun(tmp_path / "run", 2, *options)
    printed, _ = started.communicate(timeout=60)
    assert started.returncode != 0 and message in printed
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_refused_on_all_ranks(whole):
    started = torchrun(whole, 2)
    printed, _ = started.communicate(timeout=60)
    assert started.returncode != 0
    assert printed.count("sparse-engine: expected a new or empty folder") == 2
