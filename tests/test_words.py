"""Prose of the package, as far as a machine can check it: beginnings, and words of the field."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sparse_engine"
#: All files of the package.
FILES = sorted(PACKAGE.rglob("*.py"))

#: A docstring starts with a verb or a noun.
START = re.compile(
    r"(Of|That|Those|This|As|It|Its|They|In which|Which|Where|What|How|Who|When|To|From|By|See|"
    r"Like|Likewise)\b"
)
#: A comment has its noun, and so has the description of an argument.
COMMENT = re.compile(r"#:? (Of|That of|It|Its|They|In which|Likewise)\b")
ARGUMENT = re.compile(r"^ {4,}\*{0,2}\w+: (of|as (?!in)|that|those|it|its|likewise|for|from|in)\b")

#: Words that the field calls otherwise.
FOREIGN = {
    r"slow twin|\btwins?\b": "reference implementation",
    r"\bway back\b": "backward pass",
    r"\bnewborn|\bbirth": "new link",
    r"\bnoted?\b.{0,30}\bfactors|\bfactors\b.{0,30}\bnoted\b": "captured",
    r"\bnarrow(er|ed)? (kernel|device|dtype|activation)": "bfloat16",
    r"\b(absent|matrix|share of (the|all)) cells\b": "positions",
    r"\brewiring rule\b": "method",
}


def texts(path):
    """Return the line, the kind and the text of every docstring and comment of a file."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text and isinstance(node.value.value, str):
            yield node.lineno, "docstring", node.value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], "comment", token.string


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_of_the_package(path):
    wrong = []
    for line, kind, text in texts(path):
        if kind == "docstring":
            wrong += [(line, text.splitlines()[0])] * bool(START.match(text))
            wrong += [(line, each) for each in text.splitlines() if ARGUMENT.match(each)]
        else:
            wrong += [(line, text)] * bool(COMMENT.match(text))
    assert not wrong


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "examples"])
def test_beginnings_elsewhere(folder):
    wrong = [
        (str(path.relative_to(ROOT)), line, text.splitlines()[0])
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, kind, text in texts(path)
        if kind == "docstring" and START.match(text)
    ]
    assert not wrong


@pytest.mark.parametrize(
    "path",
    [*FILES, ROOT / "README.md", *sorted((ROOT / "docs").rglob("[!_]*.md"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_words_of_the_field(path):
    text = re.sub(r"\s+", " ", path.read_text())
    found = {
        match[0]: better for word, better in FOREIGN.items() for match in re.finditer(word, text)
    }
    assert not found
