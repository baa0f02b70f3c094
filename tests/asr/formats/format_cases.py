"""Transcripts that are hard on file formats, drawn by hypothesis; shared by the tests beside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import strategies

from asr.formats import WRITERS
from asr.formats.clean import one_line
from asr.transcript import Gap, Transcript, TranscriptSegment, Word

TIMES = "00:00:01,000 --> 00:00:02,000"
"""A text that SubRip has no way to write: there it begins a cue."""

NASTY = (
    "",
    " ",
    "a & b",
    "<i>x</i>",
    "</ANNOTATION_VALUE>",
    "]]>",
    TIMES,
    "-->",
    "&amp;lt;",
    "&copy",
    '"',
    '""said ""',
    "'",
    "a\tb",
    "a\nb",
    "\r\n\r\n",
    "\x00\x0b\x1f",
    "\u2028",
    "\u00a0",
    "\u3000a",
    "a\u0301\u0323",
    "\u0915\u094d\u200d\u0937",
    "\u0633\u0644\u0627\u0645 \u200f",
    "\U0001f469\u200d\U0001f33e",
    "\ufeffx",
    "\ufffe",
    "\udcff",
    ";; x",
    "<o> x",
    "@",
    "_@",
    "<ALT_BEGIN>",
    "{ a / b }",
    "42",
    "1.5",
    "! 3",
    "NOTE x",
    "%20",
)


def without_markup(text: str) -> str:
    """What SubRip keeps of the texts above: it has no way to write what players take for markup."""
    return one_line(text.replace("<i>", "").replace("</i>", ""))


texts = strategies.one_of(strategies.sampled_from(NASTY), strategies.text(max_size=12))
seconds = strategies.one_of(
    strategies.sampled_from((0.0, 0.0, 0.0004, 0.0005, 1.0, 1.0, 59.9996, 3599.9999, 100000.0)),
    strategies.floats(0, 4000),
)
lengths = strategies.sampled_from((0.0, 0.0, 1e-7, 0.0004, 0.02, 3.0, 30.0))
probabilities = strategies.floats(0, 1)


@strategies.composite
def words(draw: strategies.DrawFn) -> Word:
    start = draw(seconds)
    return Word(text=draw(texts), start=start, end=start + draw(lengths), confidence=draw(probabilities))


@strategies.composite
def segments(draw: strategies.DrawFn, translated: bool = False) -> TranscriptSegment:
    start = draw(seconds)
    return TranscriptSegment(
        start=start,
        end=start + draw(lengths),
        text=draw(strategies.one_of(strategies.just(""), texts) if translated else texts),
        translation=draw(texts) if translated else "",
        words=tuple(draw(strategies.lists(words(), max_size=4))),
        confidence=draw(probabilities),
        speaker=draw(strategies.one_of(strategies.sampled_from(("", "", "Ana", "B & <o>\n")), texts)),
        alternatives=tuple(draw(strategies.lists(texts, max_size=2))),
    )


@strategies.composite
def transcripts(draw: strategies.DrawFn, translated: bool = False) -> Transcript:
    return Transcript(
        recording=draw(texts),
        audio=Path(
            draw(strategies.sampled_from(("talk.wav", "my talk & \u00f1.mp3", "x/50%20.ogg", "a\udcff.flac")))
        ),
        duration=draw(strategies.sampled_from((0.0, 0.0003, 10.0, 3600.0))),
        segments=tuple(draw(strategies.lists(segments(translated), max_size=5))),
        gaps=tuple(
            draw(
                strategies.lists(strategies.builds(Gap, start=seconds, end=seconds, reason=texts), max_size=2)
            )
        ),
        language=draw(strategies.sampled_from(("", "qu-ec", "a b", "1x"))),
        translation_language=draw(strategies.sampled_from(("", "qu-ec", "spa_Latn", "a b")))
        if translated
        else "",
        details=draw(strategies.dictionaries(texts, texts, max_size=2)),
    )


def translated_transcript() -> Transcript:
    """The same two utterances with translations, and one that has a translation alone."""
    plain = plain_transcript()
    first, second = plain.segments
    third = TranscriptSegment(start=3.0, end=4.0, text="", translation="hasta ma\u00f1ana")
    return replace(
        plain,
        translation_language="spa_Latn",
        segments=(replace(first, translation="hoy d\u00eda"), replace(second, translation="s\u00ed"), third),
    )


def plain_transcript() -> Transcript:
    """Two utterances of a small, well-behaved recording."""
    return Transcript(
        recording="talk",
        audio=Path("talk.wav"),
        duration=5.0,
        segments=(
            TranscriptSegment(
                start=0.5,
                end=1.5,
                text="kunan puncha",
                confidence=0.75,
                words=(
                    Word(text="kunan", start=0.5, end=0.9, confidence=0.5),
                    Word(text="puncha", start=1.0, end=1.5, confidence=1.0),
                ),
            ),
            TranscriptSegment(
                start=2.0,
                end=2.6,
                text="ari",
                confidence=0.25,
                words=(Word(text="ari", start=2.0, end=2.6, confidence=0.25),),
            ),
        ),
        gaps=(Gap(start=0.0, end=0.5, reason="silence"),),
        language="qu-ec",
        details={"model": "m", "version": "0.1.0"},
    )


def file_text(name: str, transcript: Transcript) -> str:
    """What a file of a format has in it."""
    return "".join(WRITERS[name](transcript))
