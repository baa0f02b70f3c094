"""Imports point one way: lm <- asr <- st <- recipes, and so inside asr and st. They are read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ALLOWED = {"lm": set(), "asr": {"lm"}, "st": {"asr", "lm"}, "recipes": {"asr", "lm", "st"}}

OURS = {*ALLOWED, "egs", "tests", "bench"}

ROOMS = {
    "asr": """
        arrays names lookalikes watchdog memory journal batches frames dropout muon edits bootstrap best_path transcript
        config text checkpoint card features formats tokenizer audio manifest importers check mixing recut pseudo
        score score_report score_files stats decode calibration tune
        encoder model emissions opened
        augment cache loss fingerprint sharding task trainer_config optimizers resume trainer ctc pretrain joint
        training_rows recogniser recipe
        segment curate inspect transcribe align cli
    """,
    "st": """
        hub tokenisers comet transport layers compress decoder text_encoder hub.vocabulary hub.decoder model
        languages search loss texts hub.texts hub.encoder siamese retrieval recipe
        score score_report resegment dev mt
        open_texts distil task translate cli __main__
    """,
}
"""Files and folders of a package: each imports only those before it. A new one goes behind what it imports."""

EXCEPTED = {("transcript", "formats")}
"""`Transcript.save`, which README shows: the formats it writes read and write transcripts."""


def imports_of(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, wherever it stands; a relative one begins with a dot."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (f"{node.module}." if node.module else "")
            yield from ((node.lineno, module + alias.name) for alias in node.names)


def test_the_reader_sees_every_kind_of_import() -> None:
    source = "import a.b, c as d\nfrom e.f import g\nfrom . import h\ndef i():\n    from ..j import k\n"
    assert sorted(imports_of(source)) == [(1, "a.b"), (1, "c"), (2, "e.f.g"), (3, ".h"), (5, "..j.k")]


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


def room_of(name: str, rooms: Sequence[str]) -> str:
    """The room that a module is in, both named from the package on; "" where it is in none."""
    return max((room for room in rooms if f"{name}.".startswith(f"{room}.")), key=len, default="")


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_imports_only_those_before_it(package: str) -> None:
    rooms = ROOMS[package].split()
    wrong = []
    for path in sorted((ROOT / package).rglob("*.py")):
        place = path.relative_to(ROOT / package).with_suffix("")
        if place.name == "__init__":
            place = place.parent
        if not place.parts:  # the package itself, which shows what is further up
            continue
        room = room_of(".".join(place.parts), rooms)
        assert room, f"{path.relative_to(ROOT)} is in no room: name it in ROOMS, behind what it imports"
        for line, name in imports_of(path.read_text(encoding="utf-8")):
            if name.split(".")[0] != package:
                continue
            other = room_of(name.partition(".")[2], rooms)
            allowed = rooms[: rooms.index(room) + 1]
            if other not in allowed and (room, other) not in EXCEPTED:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def test_every_room_exists() -> None:
    for package, rooms in ROOMS.items():
        for room in rooms.split():
            place = ROOT.joinpath(package, *room.split("."))
            assert place.is_dir() or place.with_suffix(".py").is_file(), f"{package}.{room} is gone"
