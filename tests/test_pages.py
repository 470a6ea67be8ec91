"""Pages of results are made from the reports that runs wrote."""

import json
import re

import pytest

from benchmarks import pages


def row(variant, values, quantity="test accuracy", **more):
    return {"variant": variant, "quantity": quantity, "values": values, "higher_is_better": True,
            "published": None, "seconds": [1.0] * len(values), "note": ""} | more  # fmt: skip


def report(name, rows):
    machine = {"cores": 2, "processor": "P", "instructions": "x86-64-v4", "torch": "2"}
    return {"experiment": name, "summary": "digits", "source": "Somebody 2020", "rows": rows,
            "command": f"sparse-engine reproduce {name}", "seeds": [0, 1], "settings": {},
            "date": "2020-01-01", "machine": machine, "seconds": 90.0}  # fmt: skip


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in ("REPORTS", "DOCS"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(pages, name, tmp_path / name)
    (tmp_path / "README.md").write_text((pages.ROOT / "README.md").read_text())
    return tmp_path


def put(folders, *reports):
    for each in reports:
        path = folders / "REPORTS" / f"{each['experiment']}.json"
        path.write_text(json.dumps(each))
    pages.main()


def test_results_have_ours_beside_theirs(folders):
    put(folders, report("small", [row("SET", [0.5, 0.7], published=0.55)]))
    text = (folders / "DOCS" / "results.md").read_text()
    assert "## small" in text and "`sparse-engine reproduce small`" in text
    assert "| SET | test accuracy | 0.55 | 0.6 ± 0.14 | 2 | same | 1 |" in text
    assert "2020-01-01, P, 2 cores, x86-64-v4, torch 2, 1.5 minutes" in text


def test_papers_lead_to_commands(folders):
    """What a report says of published numbers is counted; an experiment without one is named."""
    rows = [row("SET", [0.5, 0.7], published=0.55), row("SET", [0.5, 0.5], published=0.9)]
    put(folders, report("zhang-gesture", [*rows, row("SET", [0.5, 0.7])]))
    text = (folders / "DOCS" / "papers.md").read_text()
    assert "| [`zhang-gesture`](results.md#zhang-gesture) | 1.5 | 1 same, 1 worse |" in text
    assert "| `zhang-mnist` | not run here | |" in text


def test_methods_are_compared_by_cell_and_density(folders):
    rows = [row("rnn dense 100%", [0.9, 0.9])]
    for density in ("5%", "1%"):
        rows += [row(f"rnn set {density}", [0.5, 0.7]), row(f"rnn rigl {density}", [0.8, 0.8])]
        rows += [row(f"rnn set {density}", [7.0, 7.0], quantity="links at the end", seconds=[])]
    put(folders, report("which-method-digits", rows))
    text = (folders / "DOCS" / "which_method.md").read_text()
    assert "| method | rnn, 5% | rnn, 1% | s |" in text
    assert "| set | 0.6 ± 0.1 | 0.6 ± 0.1 | 1 |" in text and "| dense | 0.9 ± 0 |" in text
    assert "1.0 on average lie within" in text, "rigl alone is near the best"
    assert (folders / "DOCS" / "which_method.png").read_bytes().startswith(b"\x89PNG")


def test_the_pages_are_those_of_the_reports(folders, monkeypatch):
    """docs/ is up to date."""
    own = pages.ROOT / "docs"
    monkeypatch.setattr(pages, "REPORTS", pages.ROOT / "benchmarks" / "results" / "experiments")
    pages.main()
    for page in (folders / "DOCS").glob("*.md"):
        assert page.read_text() == (own / page.name).read_text(), "run python -m benchmarks.pages"


def test_the_table_of_the_readme_is_that_of_the_results(folders):
    readme = folders / "README.md"
    kept = readme.read_text()
    readme.write_text(re.sub(r"\*\*\d.*\*\*", "**1**", kept))
    put(folders)
    assert readme.read_text() == kept
    assert len(re.findall(r"^\| `Sparse.*\| \*\*", kept, re.MULTILINE)) == 4
