"""Imports point one way: lm <- asr <- st <- recipes. Read from the source, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ALLOWED = {"lm": set(), "asr": {"lm"}, "st": {"asr", "lm"}, "recipes": {"asr", "lm", "st"}}

OURS = {*ALLOWED, "egs", "tests", "bench"}


def imports_of(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, wherever it stands; a relative one begins with a dot."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def test_the_reader_sees_every_kind_of_import() -> None:
    source = "import a.b, c as d\nfrom e.f import g\nfrom . import h\ndef i():\n    from ..j import k\n"
    assert sorted(imports_of(source)) == [(1, "a.b"), (1, "c"), (2, "e.f"), (3, "."), (5, "..j")]


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package} has no files to read"
    # A recipe stands alone: what two of them need moves down into a package.
    allowed = ALLOWED[package] | ({package} if package != "recipes" else set())
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for line, name in imports_of(path.read_text(encoding="utf-8"))
        if name.split(".")[0] in OURS - allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_are_absolute(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, name in imports_of(path.read_text(encoding="utf-8"))
        if name.startswith(".")
    ]
    assert wrong == []
