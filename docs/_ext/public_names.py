"""Public names of the package, and the pages of the reference that list them."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin, get_type_hints

from sphinx.pycode import ModuleAnalyzer

import sparse_engine
from sparse_engine import lab

#: Modules without a page: the command line has its own, and the rest is for the package itself.
INTERNAL = {"__main__", "cli", "extras", "files", "lab", "machine", "tables"}
#: Namespaces within subpackages: operations, and rules beside the usual ones that are exported.
RULES = [
    "sparse_engine.ops.quantized",
    "sparse_engine.ops.topology",
    *(f"sparse_engine.topology.{name}" for name in ("prune", "grow", "redistribute", "schedule")),
]


def modules() -> list[str]:
    """Return the names of all modules that have public names."""
    names = [
        f"{package.__name__}.{module.name}"
        for package in (sparse_engine, lab)
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_") and module.name not in INTERNAL
    ]
    callbacks = import_module("sparse_engine.callbacks")
    trainers = {module.name for module in pkgutil.iter_modules(callbacks.__path__)} - {
        "optimizer_hook"
    }
    return sorted(names + [f"sparse_engine.callbacks.{name}" for name in trainers])


def public_names(module: str) -> list[str]:
    """Return what a module exports, from its source, so that nothing needs to be imported.

    These are the names in ``__all__``, or else the definitions of the module and the names that it
    imports ``as`` themselves, or by ``*`` from another module.
    """
    tree = ast.parse(Path(_file(module)).read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.names[0].name == "*":
                names |= set(public_names(str(node.module)))
            names |= {each.name for each in node.names if each.asname == each.name}
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assigned = {each.id for each in targets if isinstance(each, ast.Name)}
            if "__all__" in assigned and node.value is not None:
                return sorted(ast.literal_eval(node.value))
            names |= assigned
    return sorted(name for name in names if not name.startswith("_"))


def table() -> str:
    """Return a table in Markdown of all modules and of the first sentences of their docstrings."""
    rows = ["| | |", "|---|---|"]
    for module in modules():
        text = ast.get_docstring(ast.parse(Path(_file(module)).read_text())) or ""
        name = module.removeprefix("sparse_engine.")
        rows.append(f"| {{mod}}`{name} <{module}>` | {text.splitlines()[0].rstrip('.')} |")
    return "\n".join(rows)


def write_pages(folder: Path) -> None:
    """Write a page for each module, with the tables of which autosummary makes all other pages."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {f"{module}.rst": _page(module) for module in [*modules(), *RULES]}
    for old in folder.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        if not (folder / name).exists() or (folder / name).read_text() != text:
            (folder / name).write_text(text)


def definition(module: str, name: str) -> str:
    """Return the module in which a name that a module exports is defined."""
    for node in ast.walk(ast.parse(Path(_file(module)).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            exported = {each.name for each in node.names}
            if exported == {"*"}:
                exported = set(public_names(node.module))
            if name in exported and node.module != module:
                return definition(node.module, name)
    return module


def home(module: str, name: str) -> str:
    """Return the module that has the page of a name, if several modules export it."""
    defined = definition(module, name)
    owner = ".".join(defined.split(".")[: 3 if defined.startswith("sparse_engine.lab.") else 2])
    return owner if owner in modules() and name in public_names(owner) else module


def types_in_signatures(module: ModuleType, names: list[str]) -> list[str]:
    """Return the classes in signatures that the module does not export: results, mostly."""
    places: dict[Any, str] = {}
    waiting = [getattr(module, name) for name in names]
    while waiting:
        value = waiting.pop()
        members = [*vars(value).values()] if inspect.isclass(value) else []
        for each in [value, *(getattr(member, "fget", member) for member in members)]:
            for found in _classes_in_hints(each):
                place = found.__module__.removeprefix(f"{module.__name__}.")
                exported = place == found.__module__ or found.__name__ in names
                if not exported and place[0] != "_" and found not in places:
                    places[found] = place
                    waiting.append(found)
    return sorted(f"{place}.{found.__name__}" for found, place in places.items())


def _classes_in_hints(value: Any) -> set[type]:
    if not (inspect.isfunction(value) or inspect.isclass(value)):
        return set()
    try:
        return set().union(*map(_classes, get_type_hints(value).values()))
    except NameError:  # of an import for type checkers
        return set()


def _classes(hint: Any) -> set[type]:
    own = {hint} if inspect.isclass(hint) and not get_args(hint) else set()
    return own.union(*map(_classes, get_args(hint)))


def _page(module: str) -> str:
    kinds: dict[str, list[str]] = {"Classes": [], "Functions": [], "Data": [], "Elsewhere": []}
    try:
        found: ModuleType | None = import_module(module)
    except ImportError:
        found = None  # a trainer that is not installed
    for name in public_names(module):
        value = getattr(found, name, type)
        if inspect.ismodule(value):
            continue  # a namespace, which has a page of its own
        kind = "Classes" if inspect.isclass(value) else "Functions" if callable(value) else "Data"
        if inspect.isclass(value) and home(module, name) != module:
            kind = "Elsewhere"
        elif get_origin(value) is not None:
            kind = "Data"  # an alias of a type
        kinds[kind].append(name)
    title = module.removeprefix("sparse_engine.")
    lines = [title, "=" * len(title), "", f"``{module}``", "", f".. automodule:: {module}", ""]
    for kind in ("Classes", "Functions"):
        if kinds[kind]:
            lines += [kind, "-" * len(kind), "", f".. currentmodule:: {module}", ""]
            lines += [".. autosummary::", "   :toctree: names", "   :nosignatures:", ""]
            lines += [f"   {name}" for name in kinds[kind]] + [""]
    if found and (used := types_in_signatures(found, public_names(module))):
        lines += ["Types in signatures", "-------------------", "", ".. autosummary::"]
        lines += [
            "   :toctree: names",
            "   :nosignatures:",
            "",
            *(f"   {name}" for name in used),
            "",
        ]
    if kinds["Data"]:
        lines += ["Data", "----", "", f".. currentmodule:: {module}", ""]
    for name in kinds["Data"]:
        comments = ModuleAnalyzer.for_module(definition(module, name)).find_attr_docs()
        text = comments.get(("", name), [])
        lines += [f".. py:data:: {name}", "", *(f"   {line}" for line in text), ""]
    if kinds["Elsewhere"]:
        links = (f":class:`~{home(module, name)}.{name}`" for name in kinds["Elsewhere"])
        lines += ["Also exported here: " + ", ".join(links) + ".", ""]
    return "\n".join(lines)


def _file(module: str) -> str:
    path = Path(sparse_engine.__path__[0]).joinpath(*module.split(".")[1:])
    return str(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
