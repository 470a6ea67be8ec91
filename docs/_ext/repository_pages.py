"""Pages whose text lies elsewhere in the repository, and links that leave the folder of the site.

The documents of the repository link to each other and to source files by paths. On the site, a link
to a document that is a page leads to that page, by its title where the text was only the name of
the file, and a link to a source file becomes its name. Lines such as ``% other pages`` stand for
what is found when the site is built.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

import public_names
from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent

#: Documents of the repository by the names of their pages.
MIRRORED = {
    "explanation/kernels": "csrc/README.md",
    "explanation/cpu_kernels": "csrc/cpu/README.md",
    "explanation/measurements": "benchmarks/README.md",
    "explanation/changelog": "CHANGELOG.md",
    "how_to/contribute": "CONTRIBUTING.md",
}
#: The front page says what README.md says.
PAGES = {source: f"{page}.md" for page, source in MIRRORED.items()}
PAGES |= {"README.md": "index.md", "docs/README.md": "index.md"}

LINK = re.compile(r"(!?)\[([^\]]+)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")


def missing() -> list[str]:
    """Return the files of pages whose documents this repository does not have."""
    return [f"{page}.md" for page, source in MIRRORED.items() if not (ROOT / source).is_file()]


def rewritten(text: str, source: Path, page: str) -> str:
    """Return the text of a document with links as they are on its page.

    Args:
        text: Markdown.
        source: the file that the links of the text are relative to.
        page: the name of its page, without a suffix.
    """
    here = (DOCS / page).parent

    def link(match: re.Match[str]) -> str:
        picture, words, target, anchor = match.groups(default="")
        path = Path(os.path.normpath(source.parent / target))
        if ROOT not in path.parents or not path.exists():
            return match[0]
        known = PAGES.get(str(path.relative_to(ROOT)))
        if known:
            path = DOCS / known
        if DOCS not in path.parents or path.is_dir():
            return words if words.startswith("`") else f"{words} (`{path.relative_to(ROOT)}`)"
        if words.endswith(".md"):
            words = ""  # the title of the page takes its place
        return f"{picture}[{words}]({os.path.relpath(path, here)}{anchor})"

    return LINK.sub(link, text)


def unplaced(index: str) -> list[str]:
    """Return the pages that no table of contents names, and that belong to an index.

    Pages of the top folder are guides, but for those on benchmarks, which explain.
    """
    toctree = re.compile(r"^`{3,}\{toctree\}$(.*?)^`{3,}$", re.MULTILINE | re.DOTALL)
    taken = {"index", "README", *(page.removesuffix(".md") for page in missing())}
    for path in [DOCS / "index.md", *DOCS.glob("*/index.md")]:
        folder = path.parent.relative_to(DOCS)
        entries = re.findall(r"[^\s<>]+", " ".join(toctree.findall(path.read_text())))
        taken |= {entry.lstrip("/") for entry in entries if entry.startswith("/")}
        taken |= {str(folder / entry) for entry in entries}
    pages = (path.relative_to(DOCS).with_suffix("") for path in DOCS.glob("[!_]*/*.md"))
    homes = {str(page): f"{page.parent}/index" for page in pages if page.name != "index"}
    homes |= {path.stem: "how_to/index" for path in DOCS.glob("*.md")}
    benchmarks = {page for page in homes if page.startswith("benchmarks")}
    homes |= dict.fromkeys(benchmarks, "explanation/index")
    return sorted(page for page, home in homes.items() if home == index and page not in taken)


def gallery() -> str:
    """Return a table of all examples, each with its picture, if docs/ has one of its name."""
    rows = ["| | |", "|---|---|"]
    for path in sorted((ROOT / "examples").glob("*.py")):
        summary = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0]
        summary = " ".join(summary.split())
        picture = f"![]({path.stem}.png)" if (DOCS / f"{path.stem}.png").is_file() else ""
        rows.append(f"| `examples/{path.name}`: {summary} | {picture} |")
    return "\n".join(rows)


def read(app: Sphinx, page: str, content: list[str]) -> None:
    """Replace the text of a page, before it is parsed."""
    source = ROOT / MIRRORED[page] if page in MIRRORED else Path(app.env.doc2path(page))
    if source.suffix == ".md":
        text = source.read_text() if page in MIRRORED else content[0]
        text = text.replace("% other pages", "\n".join(f"/{each}" for each in unplaced(page)))
        text = text.replace("% modules", public_names.table())
        text = text.replace("% examples", gallery())
        content[0] = rewritten(text, source, page)
        if page in MIRRORED:
            app.env.note_dependency(str(source))


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the extension."""
    app.connect("source-read", read)
    return {"version": "1", "parallel_read_safe": True}
