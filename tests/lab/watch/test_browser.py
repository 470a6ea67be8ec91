"""The page in a browser: pictures, names, and text of a run's files that is never markup."""

import re
import shutil
import subprocess
from importlib.resources import files

import pytest
from lab.watch.runs import make_run, served

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
