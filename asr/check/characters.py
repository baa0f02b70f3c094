"""The same letter in two code points: normal forms, look-alikes, apostrophes, and what cannot be seen."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice

from asr.check.findings import CheckConfig, Finding
from asr.check.shared import SHOWN, code_point
from asr.lookalikes import APOSTROPHES, INVISIBLE, JOINERS, LETTERS, base, script
from asr.manifest import Utterance
from asr.text import TextPolicy

_MARKUP = re.compile(r"\[[^\]]*\]|<[^<>]*>|\{[^}]*\}|&#?\w+;")


def check_characters(utterances: Sequence[Utterance], config: CheckConfig) -> Iterator[Finding]:
    """Findings about the texts as they were typed, and about what the policy takes from them."""
    found = [each for each in utterances if each.text]
    yield from _normal_forms(found)
    by_language: dict[str, list[Utterance]] = defaultdict(list)
    for each in found:
        by_language[each.language].append(each)
    for members in by_language.values():
        scripts = Counter(name for each in members for char in each.text if (name := script(char)))
        if scripts:
            home = scripts.most_common(1)[0][0]
            # A text all in another script, as a Russian one, is another language: letters meet within a text.
            texts = [each for each in members if home in map(script, each.text)]
            yield from _lookalikes(texts, config)
            yield from _mixed_scripts(texts, home)
    yield from _apostrophes(found)
    yield from _lost_apostrophes(found, config.policy)
    yield from _unseeable(found)
    yield from _markup(found)


def _normal_forms(utterances: Sequence[Utterance]) -> Iterator[Finding]:
    """Composed and decomposed letters are told apart by character: a text may hold both."""
    composed = [each for each in utterances if any(_is_composed(char) for char in each.text)]
    decomposed = [each for each in utterances if not unicodedata.is_normalized("NFC", each.text)]
    if composed and decomposed:
        fewer, name = min(
            (composed, "composed (NFC)"), (decomposed, "decomposed (NFD)"), key=lambda pair: len(pair[0])
        )
        yield Finding(
            kind="mixed-normal-forms",
            severity="warning",
            message=f"{len(composed)} texts have composed letters (NFC) and {len(decomposed)} decomposed "
            f"ones (NFD); the fewer are {name}, as in {fewer[0].id}",
            remedy="Bring all text to NFC, as the text policy does by default. Marks stay.",
            utterance_ids=tuple(each.id for each in fewer),
        )
    elif decomposed:
        yield Finding(
            kind="decomposed-text",
            severity="note",
            message=f"{len(decomposed)} texts are decomposed (NFD), and none is composed",
            remedy="Nothing to mend: the text policy brings it to NFC by default, where its marks stay.",
            utterance_ids=tuple(each.id for each in decomposed),
        )


@cache
def _is_composed(char: str) -> bool:
    """Whether NFD writes it with marks and NFC puts it together again."""
    apart = unicodedata.normalize("NFD", char)
    return apart != char and unicodedata.normalize("NFC", apart) == char


def _lookalikes(utterances: Sequence[Utterance], config: CheckConfig) -> Iterator[Finding]:
    """Pairs that one eye takes for one letter, both in use, letters compared without their marks."""
    letters: Counter[str] = Counter()
    holders: dict[str, list[str]] = defaultdict(list)
    for each in utterances:
        for char, count in Counter(map(base, each.text)).items():
            letters[char] += count
            holders[char].append(each.id)
    for group in LETTERS:
        usual, *others = sorted(group, key=lambda char: -letters[char])
        for char in others:
            if letters[char]:
                slip = letters[char] < config.rare_share * letters[usual]
                # Two Latin letters in regular use are two letters of the spelling: a and U+0251.
                meant = not slip and script(char) == script(usual)
                yield Finding(
                    kind="look-alikes",
                    severity="note" if meant else "warning",
                    message=f"{code_point(char)} ({letters[char]}) looks like {code_point(usual)} "
                    f"({letters[usual]})"
                    + (f": likely a slip, as in {holders[char][0]}" if slip else "; both are in use"),
                    remedy="If they are one letter of the spelling, map one to the other in the text "
                    "policy's `replace`; if they are two, nothing is to be done.",
                    utterance_ids=tuple(holders[char]),
                    where=code_point(char),
                )


def _mixed_scripts(utterances: Sequence[Utterance], home: str) -> Iterator[Finding]:
    """Words with letters of several scripts, in one finding: a spelling may mean it, as omega in Mboshi."""
    words = Counter(word for each in utterances for word in each.text.split())
    mixed = {word for word in words if len({script(char) for char in word} - {""}) > 1}
    if not mixed:
        return
    strangers: Counter[str] = Counter()
    for word in mixed:
        for char in map(base, word):
            if script(char) not in ("", home):
                strangers[char] += words[word]
    holding = tuple(each.id for each in utterances if not mixed.isdisjoint(each.text.split()))
    listed = ", ".join(f"{code_point(char)} ({count})" for char, count in strangers.most_common(8))
    examples = ", ".join(islice((word for word, _ in words.most_common() if word in mixed), SHOWN))
    yield Finding(
        kind="mixed-scripts",
        severity="note",
        message=f"{sum(words[word] for word in mixed)} words in {len(holding)} of {len(utterances)} texts "
        f"mix scripts: among {home.title()} letters stand {listed}; e.g. {examples}",
        remedy="Nothing to mend if the spelling means it; then type these letters so everywhere, in the text "
        "for the language model too.",
        utterance_ids=holding,
        where=home,
    )


def _apostrophes(utterances: Sequence[Utterance]) -> Iterator[Finding]:
    counts: Counter[str] = Counter()
    holders: dict[str, list[str]] = defaultdict(list)
    for each in utterances:
        text = each.text
        for place, char in enumerate(text):
            if char in APOSTROPHES and (char.isalpha() or _inside_word(text, place)):
                counts[char] += 1
                if not holders[char] or holders[char][-1] != each.id:
                    holders[char].append(each.id)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        yield Finding(
            kind="apostrophe-variants",
            severity="warning",
            message="in words stand "
            + ", ".join(f"{code_point(char)} ({n})" for char, n in counts.most_common()),
            remedy="Choose one and map the others to it in the text policy's `replace`; for a glottal stop a "
            "letter (U+02BC or U+A78C), which no policy takes for punctuation.",
            utterance_ids=tuple(
                dict.fromkeys(name for char in counts if char != usual for name in holders[char])
            ),
        )


def _inside_word(text: str, place: int) -> bool:
    return _is_letter(text, place - 1) and _is_letter(text, place + 1)


def _is_letter(text: str, place: int) -> bool:
    return 0 <= place < len(text) and unicodedata.category(text[place])[0] in "LM"


def _lost_apostrophes(utterances: Sequence[Utterance], policy: TextPolicy) -> Iterator[Finding]:
    """Apostrophes beside letters that the policy takes away: they may be letters themselves."""
    with_punctuation = replace(policy, punctuation="keep")
    counts: Counter[str] = Counter()
    words: Counter[str] = Counter()
    ids = []
    for each in utterances:
        text = with_punctuation(each.text)
        lost = _lost_places(text, policy)
        if lost:
            counts.update(text[place] for place in lost)
            words.update(
                word[0]
                for word in re.finditer(r"\S+", text)
                if any(word.start() <= place < word.end() for place in lost)
            )
            ids.append(each.id)
    if ids:
        examples = ", ".join(f"{word} as {policy(word)}" for word, _ in words.most_common(SHOWN))
        yield Finding(
            kind="lost-apostrophes",
            severity="warning",
            message=f"the text policy changes {words.total()} words: it takes away "
            + ", ".join(f"{code_point(char)} ({n})" for char, n in counts.most_common())
            + f" and writes {examples}",
            remedy="If it is a letter, as a glottal stop, map it in the text policy's `replace` to one that stays "
            "(U+02BC or U+A78C); if it is a quotation mark, nothing is to be done.",
            utterance_ids=tuple(ids),
        )


def _lost_places(text: str, policy: TextPolicy) -> list[int]:
    """Places of apostrophes beside letters that the policy takes away, but for pairs, which are quotation marks."""
    lost: list[int] = []
    opened: list[int] = []
    for place, char in enumerate(text):
        if char not in APOSTROPHES or not policy.removes(text, place):
            continue
        before, after = _is_letter(text, place - 1), _is_letter(text, place + 1)
        if after and not before:
            opened.append(place)
        elif opened and not after:
            opened.pop()
        elif before:
            lost.append(place)
    return lost + opened


def _unseeable(utterances: Sequence[Utterance]) -> Iterator[Finding]:
    holders: dict[str, list[str]] = defaultdict(list)
    for each in utterances:
        for char in dict.fromkeys(each.text):
            if char in JOINERS or _reason(char):
                holders[char].append(each.id)
    for char, ids in sorted(holders.items()):
        joiner = char in JOINERS
        yield Finding(
            kind="joiners" if joiner else "unseeable-characters",
            severity="note" if joiner else "warning",
            message=f"{code_point(char)} stands in {len(ids)} texts"
            + ("" if joiner else f": {_reason(char)}"),
            remedy="Keep them: they are part of the spelling. See that all sources of text have them."
            if joiner
            else "Map it to nothing, to a space or to what was meant in the text policy's `replace`.",
            utterance_ids=tuple(ids),
            where=code_point(char),
        )


@cache
def _reason(char: str) -> str:
    """Why a character should not be in a transcript; empty for one that may."""
    if char in INVISIBLE:
        return INVISIBLE[char]
    if char == "\ufffd":
        return "what an earlier program wrote for bytes it could not read"
    if char != " " and char.isspace():
        return "a space of another kind"
    return {"Cc": "control character", "Co": "private character without a meaning", "Cn": "unassigned"}.get(
        unicodedata.category(char), ""
    )


def _markup(utterances: Sequence[Utterance]) -> Iterator[Finding]:
    counts: Counter[str] = Counter()
    ids = []
    for each in utterances:
        marks = _MARKUP.findall(each.text)
        counts.update(marks)
        if marks:
            ids.append(each.id)
    if ids:
        shown = ", ".join(f"{mark!r} ({count})" for mark, count in counts.most_common(SHOWN))
        more = " …" if len(counts) > SHOWN else ""
        yield Finding(
            kind="markup",
            severity="warning",
            message=f"{len(ids)} texts hold what looks like markup: {shown}{more}",
            remedy="Without its brackets it would be learnt as words. Map it to nothing in the text policy's "
            "`replace`, or leave the utterances out.",
            utterance_ids=tuple(ids),
        )
