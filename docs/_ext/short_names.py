"""Cross references of docstrings and signatures by short names, and by the modules of definitions.

A docstring says ``SparseWeight`` wherever it stands, and a signature names the module in which a
class is defined, while its page is that of the subpackage that exports it.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


def candidates(target: str, names: list[str]) -> list[str]:
    """Return the documented names that a reference may mean, the likeliest first.

    Args:
        target: what the reference says.
        names: all documented names.
    """
    suffixes = [target]
    if target.startswith("sparse_engine."):
        parts = target.split(".")
        suffixes = [".".join(parts[-2:]), parts[-1]]
    for suffix in suffixes:
        found = [name for name in names if name == suffix or name.endswith(f".{suffix}")]
        if found:
            return sorted(found, key=lambda name: (name.count("."), name))
    return []


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node
) -> nodes.Node | None:
    """Return a link to the name that a Python reference means, if the site has it."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    own = node.get("py:module") or ""
    found = candidates(node["reftarget"].lstrip("."), list(domain.objects))
    found.sort(key=lambda name: not name.startswith(f"{own}."))
    if not found:
        return None
    entry = domain.objects[found[0]]
    page = node.get("refdoc", env.current_document.docname)
    return make_refnode(app.builder, page, entry.docname, entry.node_id, [content], found[0])


def keep_colon(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Put an empty comment first, lest napoleon reads "Rows of each gate: ..." as a type."""
    if what in {"attribute", "property", "data"}:
        lines[:0] = ["..", ""]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the extension."""
    app.setup_extension("sphinx.ext.autodoc")  # whose event the last line below needs
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", keep_colon, priority=400)
    return {"version": "1", "parallel_read_safe": True}
