"""The documentation site: code of its pages, links, and a reference with every public name."""

import json
import re
import subprocess
import sys
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import public_names  # noqa: E402
import repository_pages  # noqa: E402


def test_every_public_name_is_in_the_reference():
    """The reference reads in the source what the module has at run time."""
    for module in [*public_names.modules(), *public_names.RULES]:
        listed = set(public_names.public_names(module))
        assert listed, module
        if module.startswith("sparse_engine.callbacks."):
            continue  # the libraries that they import are large
        found = import_module(module)
        assert all(hasattr(found, name) for name in listed), module
        if module == "sparse_engine.lab.experiments":
            continue  # also imports what its table of experiments is made of
        origin = module if module in public_names.RULES else "sparse_engine"
        ours = {
            name
            for name, value in vars(found).items()
            if (isclass(value) or isfunction(value))
            and value.__module__.startswith(origin if hasattr(found, "__path__") else module)
            and not name.startswith("_")
        }
        assert ours & set(getattr(found, "__all__", ours)) <= listed, module


def test_every_subpackage_is_in_the_reference():
    package = ROOT / "sparse_engine"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {path.stem for path in package.glob("[!_]*.py")}
    pages = {module.split(".")[1] for module in public_names.modules()} - {"lab"}
    assert (folders | modules) - pages == public_names.INTERNAL - {"__main__", "cli", "tables"}


def test_the_table_of_the_reference_has_every_module():
    assert "\n% modules\n" in (DOCS / "reference" / "index.md").read_text()
    row = re.compile(r"^\| \{mod\}`[\w.]+ <([\w.]+)>` \| \w.*\w`* \|$", re.MULTILINE)
    assert row.findall(public_names.table()) == public_names.modules()


def test_the_page_on_installing_has_every_extra():
    """Each row names an extra and the libraries that it brings by itself."""
    text = (DOCS / "how_to" / "install.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \| .* \| (.+) \|$", text, re.MULTILINE))
    project = pytest.importorskip("tomllib").loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert rows.keys() == extras.keys()
    for extra, requirements in extras.items():
        libraries = {re.split(r"[>=\[]", each)[0] for each in requirements} - {"sparse_engine"}
        assert libraries <= set(re.findall(r"[\w-]+", rows[extra])), extra


def test_links_out_of_the_site_become_names_or_pages():
    def rewritten(text, source="docs/cells.md", page="cells"):
        return repository_pages.rewritten(text, ROOT / source, page)

    assert rewritten("[k](../csrc/README.md#products)") == "[k](explanation/kernels.md#products)"
    assert rewritten("[`nn`](../sparse_engine/nn)") == "`nn`"
    assert rewritten("[a cell](../sparse_engine/nn/cell.py)") == (
        "a cell (`sparse_engine/nn/cell.py`)"
    )
    assert rewritten("[methods.md](methods.md) lists") == "[](methods.md) lists"
    assert rewritten("[m](methods.md), ![p](curve.png)") == "[m](methods.md), ![p](curve.png)"
    own = rewritten("[w](../docs/write_a_cell.md)", "csrc/README.md", "explanation/kernels")
    assert own == "[w](../write_a_cell.md)"
    assert rewritten("[a](https://b.c/d.md) [e](#f)") == "[a](https://b.c/d.md) [e](#f)"


def test_the_gallery_has_every_example():
    rows = repository_pages.gallery().splitlines()
    names = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert {re.search(r"examples/(\S+\.py)`: \w", row)[1] for row in rows[2:]} == names


@pytest.mark.exhaustive
def test_the_site_builds_without_warnings_and_has_every_name(tmp_path):
    """Where ``make docs`` has built it since the last change, as in CI, that is looked at."""
    found = DOCS / "_build/html/objects.inv"
    sources = [*DOCS.glob("*.*"), *DOCS.glob("[!_]*/**/*.md"), *ROOT.glob("sparse_engine/**/*.py")]
    if not found.exists() or max(path.stat().st_mtime for path in sources) > found.stat().st_mtime:
        quick = ["-D", "nb_execution_mode=off", "-D", "suppress_warnings=myst-nb.lexer"]
        command = [sys.executable, "-m", "sphinx", "-qW", "--keep-going", *quick, DOCS, tmp_path]
        subprocess.run(command, check=True)
        found = tmp_path / "objects.inv"
    with found.open("rb") as file:
        inventory = InventoryFile.load(file, "", str.__add__)
    found = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    wanted = {
        f"{public_names.home(module, name)}.{name}"
        for module in [*public_names.modules(), *public_names.RULES]
        for name in public_names.public_names(module)
    }
    assert wanted <= found


def test_a_version_is_added_to_the_site(tmp_path):
    """The switcher lists every version, and the front page leads to the newest release."""
    built, site = tmp_path / "built", tmp_path / "site"
    built.mkdir(), site.mkdir()
    for version in ("latest", "v0.9.0", "v0.10.0", "v0.9.0"):
        (built / "index.html").write_text(version)
        script = DOCS / "_ext" / "versions.py"
        subprocess.run(
            [sys.executable, script, built, site, "https://x.org/e", version], check=True
        )
    listed = json.loads((site / "switcher.json").read_text())
    assert [each["version"] for each in listed] == ["latest", "v0.10.0", "v0.9.0"]
    assert [each["preferred"] for each in listed] == [False, True, False]
    assert listed[1]["url"] == "https://x.org/e/v0.10.0/"
    assert "url=v0.10.0/" in (site / "index.html").read_text()
    assert (site / "v0.9.0" / "index.html").read_text() == "v0.9.0"
