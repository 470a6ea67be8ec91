"""Damages each file of a checkpoint in every way, and resumes.

Files are removed, cut short, exchanged for each other and for those of another run, and each byte
in STRIDE of the tensors changed. A resumed run must end as the run that was never stopped, or be
refused in one line that says what to do. Prints how often each happened.
"""

import shutil
from itertools import count, permutations

import torch
from conftest import make

from sparse_engine.lab.train import run as run_module


class Stop(Exception):
    pass


def stop(step):
    if step == 13:
        raise Stop


def stopped(folder, **settings):
    """Leaves a run whose logs are further than its checkpoint."""
    try:
        make(folder, at_step=stop, **settings).train(progress=False)
    except Stop:
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def damages(files, other, stride):
    """Yields what was done, and the files after it; None for a file that is removed."""
    for name, content in files.items():
        yield f"{name} removed", {name: None}
        for length in {0, 1, len(content) // 2, len(content) - 1}:
            yield f"{name} cut to {length}", {name: content[:length]}
        for at in range(0, len(content) if name.endswith(".safetensors") else 0, stride):
            for bit in (1, 128) if at % 3 else (2, 16):
                changed = bytes([content[at] ^ bit])
                yield (
                    f"{name}, byte {at} ^ {bit}",
                    {name: content[:at] + changed + content[at + 1 :]},
                )
        yield f"{name} twice", {name: content + content}
        yield f"{name} of another run", {name: other[name]}
    yield "all files of another run", {name: other[name] for name in files}
    for one, two in permutations(files, 2):
        yield f"{one} in place of {two}", {two: files[one]}
    checkpoint = {name: other[name] for name in other if name.startswith("checkpoint")}
    yield "the checkpoint of another run", checkpoint


def outcome(folder, changes, files, whole):
    """Returns "exact" or "refused"."""
    folder.mkdir()
    for name, content in (files | changes).items():
        if content is not None:
            (folder / name).write_bytes(content)
    try:
        make(folder, resume=True).train(progress=False)
    except (ValueError, OSError) as error:
        message = str(error)
        assert "\n" not in message and str(folder) in message, message
        assert any(word in message for word in ("restore", "settings", "remove", "release")), (
            message
        )
        return "refused"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    return "exact"


def main(folder, stride):
    torch.set_num_threads(1)
    run_module.draw_pictures = lambda *_, **__: None
    make(folder / "whole").train(progress=False)
    whole = {path.name: path.read_bytes() for path in (folder / "whole").iterdir()}
    files, other = stopped(folder / "files"), stopped(folder / "other", seed=1)
    state = {name: files[name] for name in files if name.startswith(("checkpoint", "config"))}
    found = {"exact": 0, "refused": 0}
    for number, (what, changes) in zip(count(), damages(state, other, stride), strict=False):
        damaged = folder / str(number)
        try:
            found[outcome(damaged, changes, files, whole)] += 1
        except BaseException as error:
            error.add_note(what)
            raise
        shutil.rmtree(damaged)
    print(found["exact"], found["refused"])
