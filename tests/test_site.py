"""The documentation site: code of its pages, links, and a reference with every public name."""

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
import short_names  # noqa: E402

PAGES = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]


def test_links_of_pages_lead_somewhere():
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)\s#]+)", text):
            assert page.parent.joinpath(target).exists(), (page, target)


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
        assert ours <= listed, module


def test_every_subpackage_is_in_the_reference():
    package = ROOT / "sparse_engine"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {path.stem for path in package.glob("[!_]*.py")}
    pages = {module.split(".")[1] for module in public_names.modules()} - {"lab"}
    assert (folders | modules) - pages == public_names.INTERNAL - {"__main__", "cli"}


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


def test_all_has_precedence(tmp_path, monkeypatch):
    source = 'from a import b as b\nfrom a import c\n__all__ = ["c"]\ndef d(): pass\n'
    (tmp_path / "m.py").write_text(source)
    monkeypatch.setattr(public_names, "_file", lambda module: str(tmp_path / "m.py"))
    assert public_names.public_names("m") == ["c"]
    (tmp_path / "m.py").write_text(source.replace("__all__", "_private"))
    assert public_names.public_names("m") == ["b", "d"]


def test_a_class_has_one_page():
    assert public_names.home("sparse_engine.nn", "Euler") == "sparse_engine.ops"
    assert public_names.home("sparse_engine.nn", "SparseLSTM") == "sparse_engine.nn"


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


def test_a_page_without_a_place_gets_one(tmp_path, monkeypatch):
    (tmp_path / "how_to").mkdir()
    (tmp_path / "explanation").mkdir()
    toctree = "```{{toctree}}\n:hidden:\n\n{}\n% other pages\n```\n"
    (tmp_path / "index.md").write_text(toctree.format("Guides <how_to/index>"))
    (tmp_path / "how_to" / "index.md").write_text(toctree.format("/cells\ninstall"))
    (tmp_path / "explanation" / "index.md").write_text(toctree.format("why"))
    for page in ("cells", "quantize", "benchmarks", "how_to/install", "how_to/fly"):
        (tmp_path / f"{page}.md").write_text("# A page\n")
    monkeypatch.setattr(repository_pages, "DOCS", tmp_path)
    assert repository_pages.unplaced("how_to/index") == ["how_to/fly", "quantize"]
    assert repository_pages.unplaced("explanation/index") == ["benchmarks"]


def test_short_names_are_found():
    names = ["sparse_engine.nn.SparseWeight", "sparse_engine.nn.SparseWeight.rows", "a.rows"]
    assert short_names.candidates("SparseWeight", names) == names[:1]
    assert short_names.candidates("sparse_engine.nn.weight.SparseWeight", names) == names[:1]
    assert short_names.candidates("SparseWeight.rows", names) == names[1:2]
    assert short_names.candidates("Weight", names) == []


@pytest.mark.exhaustive
def test_the_site_builds_without_warnings_and_has_every_name(tmp_path):
    quick = ["-D", "nb_execution_mode=off", "-D", "suppress_warnings=myst-nb.lexer"]
    command = [sys.executable, "-m", "sphinx", "-qW", "--keep-going", *quick, DOCS, tmp_path]
    subprocess.run(command, check=True)
    with (tmp_path / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", str.__add__)
    found = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    wanted = {
        f"{public_names.home(module, name)}.{name}"
        for module in [*public_names.modules(), *public_names.RULES]
        for name in public_names.public_names(module)
    }
    assert wanted <= found
