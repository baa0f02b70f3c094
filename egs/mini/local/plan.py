"""Who says what: the lines of the corpus, from the grammars, the voices and a seed. No audio."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import yaml
from grammar import Grammar, grammars, words

VOICES = Path(__file__).parent / "voices.yaml"
LINES = {"train": 21, "dev": 11, "test": 14}
"""Sentences of each speaker in each language."""
DEMO_LANGUAGE = "mri"
DEMO_SPEAKER = "m7"
DEMO_LINES = 24
MAX_WORDS = 12
DOMAINS = {"clean": 9, "noise": 5, "telephone": 3, "room": 3}
"""How often each kind of sound occurs."""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A speaker: an espeak-ng variant at a pitch and a rate."""

    name: str
    variant: str
    gender: str
    split: str
    pitch: int
    """espeak-ng's scale, 0-99."""
    rate: int
    """Words a minute, as espeak-ng counts them."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A sentence to be spoken."""

    id: str
    language: str
    espeak: str
    split: str
    voice: Voice
    text: str
    translation: str
    pitch: int
    rate: int
    gap: int
    """Extra pause between words, in espeak-ng's 10 ms."""
    domain: str


def read_voices(path: Path = VOICES) -> list[Voice]:
    """The speakers, in the order of the file."""
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [Voice(name=name, **row) for name, row in rows.items()]


def make_plan(seed: int) -> list[Line]:
    """Every line of train, dev, test and demo; the same for the same seed.

    No text is said twice, in any split or by any voice; so each test sentence is unheard.
    """
    voices = read_voices()
    return [line for grammar in grammars() for line in _plan_language(grammar, voices, seed)]


def _plan_language(grammar: Grammar, voices: list[Voice], seed: int) -> list[Line]:
    rng = random.Random(f"{seed}/{grammar.language}")
    seen: set[str] = set()
    jobs = [
        (split, voice, count) for split, count in LINES.items() for voice in voices if voice.split == split
    ]
    if grammar.language == DEMO_LANGUAGE:
        jobs += [("demo", voice, DEMO_LINES) for voice in voices if voice.name == DEMO_SPEAKER]
    lines: list[Line] = []
    for split, voice, count in jobs:
        for number in range(1, count + 1):
            text, translation = _unseen(grammar, rng, seen, held=split != "train")
            lines.append(
                Line(
                    id=f"{grammar.language}-{split}-{voice.name}-{number:02d}",
                    language=grammar.language,
                    espeak=grammar.espeak,
                    split=split,
                    voice=voice,
                    text=text,
                    translation=translation,
                    pitch=voice.pitch + rng.randint(-5, 5),
                    rate=min(190, max(140, voice.rate + rng.randint(-12, 12))),
                    gap=rng.randint(0, 3),
                    domain=rng.choices(list(DOMAINS), list(DOMAINS.values()))[0],
                )
            )
    return lines


def _unseen(grammar: Grammar, rng: random.Random, seen: set[str], *, held: bool) -> tuple[str, str]:
    while True:
        sentence = grammar.sentence(rng, held=held)
        spoken = words(sentence.text)
        if 2 <= len(spoken) <= MAX_WORDS and " ".join(spoken) not in seen:
            seen.add(" ".join(spoken))
            return sentence.text, sentence.translation
