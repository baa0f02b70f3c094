"""The same letter in two code points: normal forms, look-alikes, apostrophes, and what cannot be seen."""

from __future__ import annotations

import json
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
from asr.names import composed
from asr.text import OVER_LETTERS, WITHOUT_SPACES, TextPolicy

_MARKUP = re.compile(r"\[[^\]]*\]|<[^<>]*>|\{[^}]*\}|\([^()]*\)|&#?\w+;|&[-=~*+]\w+")
_QUOTED = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')
_SIGN = re.compile(r"[^\w\s]|_")
_DASHES = "\u2012\u2013\u2014\u2015\u2e3a\u2e3b"
"""The other signs of Unicode's category of dashes are the hyphens of some writing."""
_USUAL_BEFORE = frozenset('"\u00a1\u00bf') | frozenset(APOSTROPHES)
"""What stands before words beside brackets and dashes: quotation marks, Spanish marks."""

INSIDE_SHARE = 0.2
"""A sign that has letters on both sides less often is punctuation, now and then without its space."""
BEFORE_SHARE, BEFORE_WORDS = 0.5, 3
"""A sign that opens words less often is no letter of theirs."""


def check_characters(utterances: Sequence[Utterance], config: CheckConfig) -> Iterator[Finding]:
    """Findings about the texts as they were typed, and about what the policy takes from them."""
    found = [each for each in utterances if each.text]
    yield from _normal_forms(found)
    yield from _quoted(found)
    policy = config.policy
    with_punctuation = replace(policy, punctuation="keep")
    texts = [(each.id, _MARKUP.sub(" ", with_punctuation(each.text))) for each in found]
    if policy.replace:  # what a rule has mended is not found again
        found = [replace(each, text=policy.replaced(each.text)) for each in found]
    by_language: dict[str, list[Utterance]] = defaultdict(list)
    for each in found:
        by_language[each.language].append(each)
    for members in by_language.values():
        scripts = Counter(name for each in members for char in each.text if (name := script(char)))
        if scripts:
            home = scripts.most_common(1)[0][0]
            # A text all in another script, as a Russian one, is another language: letters meet within a text.
            own = [each for each in members if home in map(script, each.text)]
            yield from _lookalikes(own, config)
            yield from _mixed_scripts(own, home)
        yield from _dotless(members, policy)
    yield from _apostrophes(found)
    yield from _lost_apostrophes(texts, policy)
    yield from _split_words(texts, policy)
    yield from _unseeable(found)
    yield from _markup(found)


def _normal_forms(utterances: Sequence[Utterance]) -> Iterator[Finding]:
    """Composed and decomposed letters are told apart by character: a text may hold both.

    A letter that NFC itself takes apart (U+0958) or writes otherwise is neither.
    """
    together = [each for each in utterances if any(_is_composed(char) for char in each.text)]
    excluded = {char for char in set().union(*(each.text for each in utterances)) if composed(char) != char}
    decomposed = [
        each
        for each in utterances
        if not unicodedata.is_normalized("NFC", "".join(map(composed, each.text)) if excluded else each.text)
    ]
    if together and decomposed:
        fewer, name = min(
            (together, "composed (NFC)"), (decomposed, "decomposed (NFD)"), key=lambda pair: len(pair[0])
        )
        yield Finding(
            kind="mixed-normal-forms",
            severity="warning",
            message=f"{len(together)} texts have composed letters (NFC) and {len(decomposed)} decomposed "
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
    if excluded:
        holding = tuple(each.id for each in utterances if not excluded.isdisjoint(each.text))
        yield Finding(
            kind="not-in-nfc",
            severity="note",
            message=f"{len(holding)} texts have characters for which NFC has others: "
            + ", ".join(
                f"{code_point(char)} as {' '.join(f'U+{ord(part):04X}' for part in composed(char))}"
                for char in sorted(excluded)[:SHOWN]
            )
            + (" …" if len(excluded) > SHOWN else ""),
            remedy="Nothing to mend: the text policy brings it to NFC by default.",
            utterance_ids=holding,
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
            if letters[char] and char.lower() != usual.lower():
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


def _dotless(utterances: Sequence[Utterance], policy: TextPolicy) -> Iterator[Finding]:
    """Capitals of a language that writes two letters i, lower-cased as English has it."""
    if policy.case != "lower" or "I" in policy.replace:
        return
    dotless = sum("\u0131" in each.text for each in utterances)
    capitals = tuple(each.id for each in utterances if "I" in each.text)
    if dotless and capitals:
        yield Finding(
            kind="dotless-i",
            severity="warning",
            message=f"{dotless} texts have \u0131 (U+0131) and {len(capitals)} the capital I, which the text policy "
            "writes as i",
            remedy="Where I is the capital of \u0131, as in Turkish and Azerbaijani, give the text policy "
            "`case: lower-turkic` or `replace: {I: \u0131}`; else nothing is to be done.",
            utterance_ids=capitals,
            where=utterances[0].language,
        )


def _lost_apostrophes(texts: Sequence[tuple[str, str]], policy: TextPolicy) -> Iterator[Finding]:
    """Apostrophes beside letters that the policy takes away: they may be letters themselves.

    Args:
        texts: ids, and texts under the policy but with their punctuation, without markup.
    """
    counts: Counter[str] = Counter()
    words: Counter[str] = Counter()
    ids = []
    for name, text in texts:
        lost = _lost_places(text, policy)
        if lost:
            counts.update(text[place] for place in lost)
            words.update(_words_at(text, lost))
            ids.append(name)
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


def _words_at(text: str, places: Sequence[int]) -> Iterator[str]:
    """The words that hold one of these places."""
    for word in re.finditer(r"\S+", text):
        if any(word.start() <= place < word.end() for place in places):
            yield word[0]


def _split_words(texts: Sequence[tuple[str, str]], policy: TextPolicy) -> Iterator[Finding]:
    """Signs within words, or before them again and again, that the policy takes away: they may be letters.

    Args:
        texts: as for `_lost_apostrophes`, which tells of apostrophes.
    """
    uses: Counter[str] = Counter()  # beside a letter
    inside: Counter[str] = Counter()
    before: Counter[str] = Counter()
    places: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for name, text in texts:
        for match in _SIGN.finditer(text):
            place, char = match.start(), match[0]
            if char in APOSTROPHES + OVER_LETTERS or _reason(char) or not policy.removes(text, place):
                continue
            left, right = _is_letter(text, place - 1), _is_letter(text, place + 1)
            uses[char] += left or right
            if _parts_phrases(text, place):
                continue
            inside[char] += left and right
            is_usual = char in _USUAL_BEFORE or unicodedata.category(char) == "Pd"
            before[char] += right and not left and not is_usual
            if right:
                places[char].append((name, text, place))
    for char, count in uses.most_common():
        is_inside = inside[char] >= max(1, INSIDE_SHARE * count)
        is_before = before[char] >= max(BEFORE_WORDS, BEFORE_SHARE * count)
        if not is_inside and not is_before:
            continue
        found = [
            (name, next(_words_at(text, [place])))
            for name, text, place in places[char]
            if (is_inside if _is_letter(text, place - 1) else is_before)
        ]
        words = Counter(word for _, word in found)
        examples = ", ".join(f"{word} as {policy(word)}" for word, _ in words.most_common(SHOWN))
        yield Finding(
            kind="split-words",
            severity="warning",
            message=f"the text policy takes {code_point(char)} from {words.total()} places within or before words "
            f"and writes {examples}",
            remedy="If it is a letter or joins the parts of a word, map it in the text policy's `replace` to what "
            "stays (U+A789 for a colon, U+01C0 to U+01C3 for clicks) or, within words, keep it by "
            f"`policy: {{inside_words: {json.dumps(policy.inside_words + char, ensure_ascii=False)}}}` in the "
            "configuration; if it parts words, nothing is to be done.",
            utterance_ids=tuple(dict.fromkeys(name for name, _ in found)),
            where=code_point(char),
        )


def _parts_phrases(text: str, place: int) -> bool:
    """Whether a sign is a bracket, a quotation mark, a dash or an ellipsis, or stands in a writing without spaces."""
    char = text[place]
    return (
        unicodedata.category(char) in ("Ps", "Pe", "Pi", "Pf")
        or char in "/\u2026" + _DASHES
        or "WORDSPACE" in unicodedata.name(char, "")
        or bool(WITHOUT_SPACES.search(text[max(0, place - 2) : place + 2]))
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
        if joiner:
            remedy = "Keep them: they are part of the spelling. See that all sources of text have them."
        elif char in INVISIBLE:
            remedy = (
                "Nothing to mend: the text policy takes it away, or leaves a space for a zero width space."
            )
        else:
            remedy = "Map it to nothing, to a space or to what was meant in the text policy's `replace`."
        yield Finding(
            kind="joiners" if joiner else "unseeable-characters",
            severity="note" if joiner or char in INVISIBLE else "warning",
            message=f"{code_point(char)} stands in {len(ids)} texts"
            + ("" if joiner else f": {_reason(char)}"),
            remedy=remedy,
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
            "`replace`, or leave the utterances out. Parentheses round what is said need nothing.",
            utterance_ids=tuple(ids),
        )


def _quoted(utterances: Sequence[Utterance]) -> Iterator[Finding]:
    """Texts as a spreadsheet writes them in its own table of tabs: quoted, with quotes inside doubled."""
    ids = [each.id for each in utterances if _QUOTED.fullmatch(each.text)]
    if ids:
        yield Finding(
            kind="quoted-cells",
            severity="warning",
            message=f"{len(ids)} texts are quoted as by a spreadsheet, as in {ids[0]}",
            remedy="A manifest quotes nothing. Take the quotes away, and write one where two stand inside.",
            utterance_ids=tuple(ids),
        )
