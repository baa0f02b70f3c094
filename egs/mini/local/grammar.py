"""Sentences with their English translations, from template grammars in YAML.

A grammar maps categories to productions. A production is a set of named strings: ``t`` is the
target text, ``e`` its English, any other name carries agreement or another form. A string holds
slots, each replaced by a field of a production drawn for that slot:

- ``{food}`` field ``t`` of a drawn ``food``; ``{food.e}`` another field of the same draw;
- ``{action.now_[person.p]}`` the field whose name is ``now_`` and the value of ``{person.p}``;
- ``{.v}`` another field of this very production.

Within one production a slot is drawn once, so the target and the English stay in step; a digit
(``{statement2}``) makes a second draw from the same category. ``like`` takes fields from the entries
of ``classes`` and of ``english.yaml``; ``weight`` makes a production more frequent; ``held: yes``
keeps its words out of training sentences.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lm.errors import InputError

FOLDER = Path(__file__).parent / "grammar"
SHARED = "english.yaml"
START = "sentence"

_SLOT = re.compile(r"\{([a-z]*\d*)(?:\.(\w+))?(?:\[(\w+)\.(\w+)\])?\}")
_CONTROL = ("like", "weight", "held")


@dataclass(frozen=True)
class Production:
    """One alternative of a category."""

    fields: Mapping[str, str]
    weight: float
    held: bool


@dataclass(frozen=True)
class Sentence:
    """A sentence and what it means."""

    text: str
    translation: str


class Grammar:
    """A language's grammar, read whole; :meth:`sentence` draws from it."""

    def __init__(self, path: Path) -> None:
        """Read a grammar and check every slot.

        Raises:
            InputError: an entry of ``like``, a category or a field that does not exist.
        """
        self.path = path
        content = _load(path)
        shared = _load(path.parent / SHARED)
        self.language: str = content["language"]
        self.espeak: str = content["espeak"]
        """The espeak-ng language that speaks it."""
        self.name: str = content["name"]
        classes = {**shared, **content.get("classes", {})}
        self.rules: dict[str, list[Production]] = {}
        for category, rows in content["rules"].items():
            self.rules[category] = [self._production(row, classes) for row in rows]
        self._check()

    def sentence(self, rng: random.Random, *, held: bool = False) -> Sentence:
        """Draw a sentence; ``held`` lets in the words that training sentences never have."""
        node = _Node(self, START, rng, held)
        return Sentence(_sentence_case(node.field("t")), _sentence_case(node.field("e")))

    def draw(self, category: str, rng: random.Random, held: bool) -> Production:
        """One production of ``category`` by weight."""
        choices = [production for production in self.rules[category] if held or not production.held]
        return rng.choices(choices, [production.weight for production in choices])[0]

    def _production(
        self, row: Mapping[str, object], classes: Mapping[str, Mapping[str, object]]
    ) -> Production:
        fields = self._fields(row, classes)
        return Production(fields, float(str(row.get("weight", "1"))), row.get("held") == "yes")

    def _fields(
        self, row: Mapping[str, object], classes: Mapping[str, Mapping[str, object]]
    ) -> dict[str, str]:
        fields: dict[str, str] = {}
        like = row.get("like", [])
        for name in [like] if isinstance(like, str) else list(like):  # type: ignore[call-overload]
            if name not in classes:
                raise InputError(f"grammar {self.path}: `like: {name}` names no class. Add it to `classes`.")
            fields |= self._fields(classes[name], classes)
        return fields | {name: str(value) for name, value in row.items() if name not in _CONTROL}

    def _check(self) -> None:
        for category, productions in self.rules.items():
            if all(production.held for production in productions):
                raise InputError(f"grammar {self.path}: every production of {category!r} is held. Free one.")
            for production in productions:
                for text in production.fields.values():
                    for slot, name, other, key in _SLOT.findall(text):
                        self._check_slot(production, slot, name or "t", other, key, f"{category}: {text!r}")

    def _check_slot(self, own: Production, slot: str, name: str, other: str, key: str, where: str) -> None:
        for category in filter(None, (_category(slot), _category(other))):
            if category not in self.rules:
                raise InputError(
                    f"grammar {self.path}, {where}: no category {category!r}. Add it to `rules`."
                )
        endings = {production.fields[key] for production in self.rules[_category(other)]} if other else {""}
        for production in self.rules[_category(slot)] if slot else [own]:
            missing = [name + ending for ending in sorted(endings) if name + ending not in production.fields]
            if missing:
                raise InputError(
                    f"grammar {self.path}, {where}: {dict(production.fields)} "
                    f"has no field {missing[0]!r}. Add it."
                )


class _Node:
    """A drawn production and the draws of its slots."""

    def __init__(self, grammar: Grammar, category: str, rng: random.Random, held: bool) -> None:
        self.grammar, self.rng, self.held = grammar, rng, held
        self.production = grammar.draw(category, rng, held)
        self.slots: dict[str, _Node] = {}

    def field(self, name: str) -> str:
        def fill(match: re.Match[str]) -> str:
            slot, field, other, key = match.groups()
            ending = self.slot(other).field(key) if other else ""
            node = self.slot(slot) if slot else self
            return node.field((field or "t") + ending)

        return _SLOT.sub(fill, self.production.fields[name])

    def slot(self, name: str) -> _Node:
        if name not in self.slots:
            self.slots[name] = _Node(self.grammar, _category(name), self.rng, self.held)
        return self.slots[name]


def grammars(folder: Path = FOLDER) -> list[Grammar]:
    """Every grammar of the folder, by language."""
    paths = sorted(path for path in folder.glob("*.yaml") if path.name != SHARED)
    if not paths:
        raise InputError(f"no grammar in {folder}. Put one there as <language>.yaml.")
    return [Grammar(path) for path in paths]


def words(text: str) -> list[str]:
    """The words of a text, lower case, without the marks that end a sentence."""
    return re.sub(r"[.,?!]", "", text.lower()).split()


def _category(slot: str) -> str:
    return slot.rstrip("0123456789")


def _sentence_case(text: str) -> str:
    text = re.sub(r"\s+([.,?!])", r"\1", " ".join(text.split()))
    return text[:1].upper() + text[1:]


def _load(path: Path) -> dict[str, Any]:
    # BaseLoader: every scalar stays the text it is, so `no`, `on` and `y` are words.
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    if not isinstance(content, dict):
        raise InputError(
            f"grammar {path} is not a mapping. Write `language:`, `espeak:`, `name:` and `rules:`."
        )
    return content
