"""The page of runs: what its server answers and refuses, and what a browser shows."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from importlib.resources import files
from urllib.parse import urlencode

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sparse_engine.lab.cli import main
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


def get(port, path, *, method="GET", host=None, **parameters):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    query = f"?{urlencode(parameters)}" if parameters else ""
    headers = {} if host is None else {"Host": host}
    connection.request(method, path + query, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def ask(port, path, **parameters):
    answer, content = get(port, path, **parameters)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON for a browser")

    return answer.status, json.loads(content, parse_constant=refuse)


def test_a_run_is_shown_while_it_grows(tmp_path):
    weight = make_run(tmp_path / "sweep" / "seed=0")
    with served(tmp_path) as port:
        assert ask(port, "/api/runs") == (200, ["sweep/seed=0"])
        status, found = ask(port, "/api/run", run="sweep/seed=0")
        assert (status, found["step"], found["steps"], found["finished"]) == (200, 30, 30, False)
        pictures = found["pictures"]
        assert pictures["loss"] == {"training": [[10, 20, 30], [1 / 10, 1 / 20, 1 / 30]]}
        assert pictures["metric"] == {"validation accuracy": [[10, 20, 30], [0.5] * 3]}
        assert pictures["density"] == {"recurrent": [[10, 20, 30], [0.1] * 3]}
        assert pictures["turnover"] == {"turnover recurrent": [[10, 20, 30], [0.2] * 3]}
        assert pictures["balance"] == {"pooled recurrent": [[10, 20, 30], [0.6] * 3]}
        with open(tmp_path / "sweep" / "seed=0" / "metrics.jsonl", "a") as file:
            file.write('{"step": 40, "loss": 7}\n{"step": 50, "lo')
        found = ask(port, "/api/run", run="sweep/seed=0")[1]
        assert found["pictures"]["loss"]["training"][1][-1] == 7 and found["unreadable"] == 0

        status, wiring = ask(port, "/api/wiring", run="sweep/seed=0", weight=found["weights"][0])
        assert status == 200
        col = weight.col_indices.numpy()
        dense = np.zeros((40, col.max() + 1), int)
        dense[weight.rows().numpy(), col] = 1
        assert wiring["grid"] == dense.tolist() and wiring["nnz"] == weight.nnz
        for direction, axis in (("in", 1), ("out", 0)):
            expected = np.bincount(dense.sum(axis))
            bars = wiring["degrees"][direction]
            assert [count for *_, count in bars] == expected.tolist()
            assert [least for least, *_ in bars] == [*range(len(expected))]


def test_a_large_wiring_is_summed_in_fields(tmp_path):
    make_run(tmp_path / "run")
    rows, each = 1000, 7
    col = np.sort(np.random.default_rng(0).integers(0, 5000, (rows, each)), axis=1)
    crow, flat = torch.arange(rows + 1) * each, torch.from_numpy(col.ravel())
    state = {"m.crow_indices": crow, "m.col_indices": flat}
    save_file(state, tmp_path / "run" / "checkpoint-00000031.safetensors")
    with served(tmp_path) as port:
        wiring = ask(port, "/api/wiring", run="run", weight="m")[1]
    assert np.shape(wiring["grid"]) == (128, 128) and np.sum(wiring["grid"]) == rows * each
    assert wiring["step"] == 31, "the last checkpoint"
    assert sum(count for *_, count in wiring["degrees"]["out"]) == wiring["columns"]


def test_the_page_loads_nothing_from_elsewhere(tmp_path):
    make_run(tmp_path / "run")
    with served(tmp_path / "run") as port:
        answer, page = get(port, "/")
        assert answer.status == 200 and answer.getheader("Content-Type").startswith("text/html")
        assert "default-src 'none'" in answer.getheader("Content-Security-Policy")
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert ask(port, "/api/runs")[1] == ["."]
    text = page.decode()
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "") and "https:" not in text
    assert not {"src=", "@import", "innerHTML", "eval("} & set(text.split())
    assert "innerHTML" not in text and 'lang="en"' in text


@pytest.mark.parametrize(
    "name", ["../secret", "/etc", "..", "run/../../secret", "run\0", "%2e%2e/secret", "link"]
)
def test_nothing_outside_the_folder_is_read(tmp_path, name):
    make_run(tmp_path / "secret")
    make_run(tmp_path / "runs" / "run")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "secret")
    with served(tmp_path / "runs") as port:
        assert ask(port, "/api/runs")[1] == ["run"]
        assert ask(port, "/api/run", run=name)[0] == 404
        assert ask(port, "/api/wiring", run=name, weight="model.recurrent")[0] == 404
        for path in ("/../secret/config.json", "/run/config.json", "//etc/passwd", "/api/run"):
            assert get(port, path)[0].status == 404


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_files_that_are_no_files_are_not_followed(tmp_path, kind):
    make_run(tmp_path / "run")
    for name in ("metrics.jsonl", "checkpoint-00000030.safetensors"):
        path = tmp_path / "run" / name
        outside = path.rename(tmp_path / f"outside-{name}")
        if kind == "link":
            path.symlink_to(outside)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()
    with served(tmp_path) as port:
        status, found = ask(port, "/api/run", run="run")
        assert (status, found["pictures"]["loss"], found["weights"]) == (200, {}, [])
        assert ask(port, "/api/wiring", run="run", weight="model.recurrent")[0] == 404


def test_other_hosts_and_methods_are_refused(tmp_path):
    """A page of another site may have its name resolved to this machine."""
    make_run(tmp_path / "run")
    with served(tmp_path) as port:
        for host in ("evil.example", f"evil.example:{port}", ""):
            assert get(port, "/api/runs", host=host)[0].status == 403
        for host in (f"localhost:{port}", "localhost", "127.0.0.1"):  # port 80 is not named
            assert get(port, "/api/runs", host=host)[0].status == 200
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert get(port, "/api/runs", method=method)[0].status == 501


def test_only_this_machine_is_bound(tmp_path):
    make_run(tmp_path / "run")
    with serve(Runs(tmp_path), port=0) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        other = socket.create_server(("127.0.0.2", server.server_port))
        other.close()


HOSTILE = [
    b"", b"\xff\xfe\0\0", b"[" * 100_000, b'{"step": true}\n{"step": -1}\n{"step": "1"}\n', 
    b"[1]\n\n",
    b'{"step": 1, "loss": NaN}\n{"step": 2, "loss": 1e999}\n{"step": 3, "loss": "x"}\n',
    b'{"step": 1, "loss": 1' + b"0" * 400 + b"}\n", b'{"step": 1e400}\n',
    b'{"step": 9007199254740993, "loss": 1}\n{"step": 1, "validation": {"a": {"b": []}}}\n',
    b'{"step": 1, "weight": {"a": 1}, "density": [1], "turnover": null, "pooled": {}}\n' * 3,
    ("".join(json.dumps({"step": i, "x" * 9999: {f"m{j}": j for j in range(99)}}) + "\n"
             for i in range(3))).encode(),
]  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("file", ["config.json", "metrics.jsonl", "topology.jsonl", "result.json"])
def test_hostile_files_do_no_harm(tmp_path, file, content):
    make_run(tmp_path / "run")
    (tmp_path / "run" / file).write_bytes(content)
    with served(tmp_path) as port:
        status, found = ask(port, "/api/run", run="run")
        assert status == 200 and ask(port, "/api/wiring", run="run", weight="x")[0] == 404
    text = json.dumps(found)
    assert len(text) < 200_000
    for steps, values in (curve for each in found["pictures"].values() for curve in each.values()):
        assert len(steps) == len(values)


@pytest.mark.parametrize(
    "arrays",
    [
        {"crow_indices": np.array([0, 2, 1, 3]), "col_indices": np.array([0, 1, 2])},
        {"crow_indices": np.array([0, 99]), "col_indices": np.array([0])},
        {"crow_indices": np.array([0, 1]), "col_indices": np.array([-1])},
        {"crow_indices": np.array([0, 1]), "col_indices": np.array([2**62])},
        {"crow_indices": np.array([0.0, 1]), "col_indices": np.array([0])},
        {"crow_indices": np.zeros((0,), int), "col_indices": np.zeros((0,), int)},
        {"crow_indices": np.zeros((1, 1), int), "col_indices": np.zeros((1, 1), int)},
        {"col_indices": np.array([0])},
        {"crow_indices": torch.zeros(2, dtype=torch.bfloat16), "col_indices": torch.zeros(1)},
        {"crow_indices": torch.zeros(2).to(torch.float8_e5m2), "col_indices": torch.zeros(1)},
    ],
)
def test_links_that_are_none_are_refused(tmp_path, arrays):
    make_run(tmp_path / "run")
    path = tmp_path / "run" / "checkpoint-00000031.safetensors"
    save_file({f"m.{name}": torch.as_tensor(array) for name, array in arrays.items()}, path)
    with served(tmp_path) as port:
        status, found = ask(port, "/api/wiring", run="run", weight="m")
        assert status in (404, 422) and "expected" in found["error"]
        path.write_bytes(path.read_bytes()[:-1])
        assert ask(port, "/api/run", run="run")[1]["weights"] == []


def test_long_logs_are_thinned(tmp_path):
    make_run(tmp_path / "run")
    write_lines(tmp_path / "run" / "metrics.jsonl", [{"step": i, "loss": i} for i in range(2500)])
    with served(tmp_path) as port:
        steps, values = ask(port, "/api/run", run="run")[1]["pictures"]["loss"]["training"]
    assert len(steps) <= 1000 and steps[-1] == 2499 and steps == values


def test_the_command_serves_and_ends(tmp_path, monkeypatch):
    """With Ctrl-C, by somebody who has read the address that it prints."""
    make_run(tmp_path / "run")
    read, write = os.pipe()
    found = []

    def browse():
        with open(read) as lines:
            port = int(lines.readline().rsplit(":", 1)[1].split("/")[0])
            found.append(ask(port, "/api/runs")[1])
            os.kill(os.getpid(), signal.SIGINT)
            lines.read()

    with open(write, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        browser = threading.Thread(target=browse)
        browser.start()
        assert main(["watch", str(tmp_path), "--port", "0"]) == 0
    browser.join()
    assert found == [["run"]]


BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    return found


def dom(browser, folder, port, state=""):
    """Return the document after the first look at a run."""
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}",
        "--virtual-time-budget=3000", "--dump-dom", f"http://127.0.0.1:{port}/#{state}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert 'data-ready="true"' in done.stdout
    return done.stdout


def test_pictures_are_drawn_and_named(browser, tmp_path):
    make_run(tmp_path / "runs" / "a")
    weight = make_run(tmp_path / "runs" / "b", steps=(10, 20))
    with served(tmp_path / "runs") as port:
        text = dom(browser, tmp_path / "profile", port, "run=b&theme=dark")
    assert 'data-theme="dark"' in text and re.search('<p id="error"[^>]*hidden', text)
    for name in ("loss", "metric", "density", "turnover", "balance", "degrees-in", "degrees-out"):
        figure = re.search(f'<figure id="figure-{name}">(.*?)</figure>', text, re.DOTALL)[1]
        assert re.search(r'<svg [^>]*role="img"[^>]*aria-label="[^"]{20}', figure), name
        assert "<table>" in figure and 'scope="col"' in figure, name
        drawn = 'class="bar"' if "degrees" in name else '<path d="M58.0 '
        assert drawn in figure, name
    assert f"{weight.nnz} links" in re.search(r'<canvas[^>]*aria-label="([^"]*)"', text)[1]
    assert re.search(r"step <strong>20</strong> of 30", text)
    controls = re.findall(r"<(?:select|input)\b", text)
    labels = re.findall(r"<label[^>]*>.*?</label>", text, re.DOTALL)
    assert len(controls) == len(labels) == 3, "each control stands in its label"


def test_text_of_a_run_is_never_markup(browser, tmp_path):
    evil = "<img src=x onerror=document.body.dataset.owned=1>"
    make_run(tmp_path / "runs" / "<b>run", name=evil, config={evil: evil, "steps": 30})
    with served(tmp_path / "runs") as port:
        text = dom(browser, tmp_path / "profile", port)
    assert "<img" not in text and "<b>" not in text and "data-owned" not in text
    assert text.count("&lt;img src=x") >= 4


def test_a_folder_without_runs_says_so(browser, tmp_path):
    (tmp_path / "runs").mkdir()
    with served(tmp_path / "runs") as port:
        text = dom(browser, tmp_path / "profile", port)
    assert re.search(r'role="alert">expected a run in the folder, found none yet', text)


def luminance(colour):
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_contrast(theme):
    """WCAG 2.2 asks for 4.5 for text and 3 for lines of a picture."""
    page = files("sparse_engine.lab.watch").joinpath("page.html").read_text()
    blocks = re.findall(r":root[^{]*\{(.*?)\}", page, re.DOTALL)
    found = dict(re.findall(r"--(\w+): (#\w+)", blocks[theme == "dark"]))
    colours = {
        k: v if len(v) == 7 else "#" + "".join(2 * c for c in v[1:]) for k, v in found.items()
    }

    def contrast(one, other):
        low, high = sorted((luminance(colours[one]), luminance(colours[other])))
        return (high + 0.05) / (low + 0.05)

    for ground in ("page", "card"):
        for text in ("ink", "soft"):
            assert contrast(text, ground) >= 4.5, (text, ground)
        for line in ("focus", *(f"c{i}" for i in range(6))):
            assert contrast(line, ground) >= 3, (line, ground)
