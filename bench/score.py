"""How fast word and character errors are counted, against jiwer on the same texts.

`python -m bench.score [--quick] [--reference MANIFEST --hypothesis TSV]`
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

if not __package__:  # run as `python bench/score.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import jiwer

from asr.score import Counts, error_counts, score_corpus
from asr.score_files import read_hypotheses, read_references
from asr.text import TextPolicy
from bench import common

PROTOCOL = """Both get the same normalised texts as lists of strings and give substitutions,
deletions, insertions and correct tokens of the corpus, for words and for characters (spaces
counted), and an alignment of every utterance: loquela by `error_counts` of each utterance, jiwer by
`process_words` and `process_characters` with their default transforms. One process, one thread,
runs interleaved with alternating order, median of the rounds after one warm-up; CPU time is the
figure to compare, as each uses one thread. The totals must agree, or nothing is printed. Beside it:
the whole of `score_corpus` with the text policy, 1,000 bootstrap draws of both rates, and one text
of 12,000 characters. Texts: seeded words of 2 to 9 letters, 1 to 11 a sentence, with errors in 12 %
of the characters, unless a corpus is given."""


def made_texts(count: int) -> tuple[dict[str, str], dict[str, str]]:
    """Sentences as long as those of a small corpus, and what a middling recogniser makes of them."""
    draw = random.Random(0)
    letters = "aeiouaeioukmnprstchlñ"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(3000)]
    references, hypotheses = {}, {}
    for number in range(count):
        text = " ".join(draw.choices(words, k=draw.randint(1, 11)))
        references[f"u{number}"] = text
        edits = (draw.choice(("", "a", "k" + char, " ")) if draw.random() < 0.12 else char for char in text)
        hypotheses[f"u{number}"] = " ".join("".join(edits).split())
    return references, hypotheses


def ours(references: list[str], hypotheses: list[str]) -> tuple[Counts, Counts]:
    """Words and characters by loquela."""
    words, characters = Counts(), Counts()
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        words += error_counts(reference.split(), hypothesis.split())
        characters += error_counts(reference, hypothesis)
    return words, characters


def theirs(references: list[str], hypotheses: list[str]) -> tuple[Counts, Counts]:
    """Words and characters by jiwer."""
    words = jiwer.process_words(references, hypotheses)
    characters = jiwer.process_characters(references, hypotheses)
    return (
        Counts(words.substitutions, words.deletions, words.insertions, words.hits),
        Counts(characters.substitutions, characters.deletions, characters.insertions, characters.hits),
    )


def main() -> None:
    """Measure, print, and end with the figures."""
    options = common.parser("Speed of scoring against jiwer.")
    options.add_argument("--reference", type=Path, help="a manifest")
    options.add_argument("--hypothesis", type=Path, help="its recognised texts: id and text")
    args = options.parse_args()
    machine = common.start("scoring", PROTOCOL, "jiwer", "rapidfuzz")

    policy = TextPolicy()
    if args.reference and args.hypothesis:
        hypotheses = read_hypotheses([args.hypothesis])
        said = read_references(args.reference).texts
        references = {name: said[name] for name in hypotheses if said.get(name, "").strip()}
        hypotheses = {name: hypotheses[name] for name in references}
    else:
        references, hypotheses = made_texts(500 if args.quick else 5000)
    # jiwer takes no empty reference.
    names = [name for name, text in references.items() if policy(text)]
    said_texts = [policy(references[name]) for name in names]
    heard_texts = [policy(hypotheses[name]) for name in names]

    counted = {"loquela": ours(said_texts, heard_texts), "jiwer": theirs(said_texts, heard_texts)}
    for our, their in zip(*counted.values(), strict=True):
        if (our.errors, our.length) != (their.errors, their.length):
            sys.exit(f"the totals differ: loquela {our}, jiwer {their}")

    repeats = 5 if args.quick else 15
    timings = common.interleave(
        {
            "loquela": lambda: ours(said_texts, heard_texts),
            "jiwer": lambda: theirs(said_texts, heard_texts),
        },
        repeats=repeats,
    )
    scored = score_corpus(references, hypotheses, policy)
    whole = common.interleave(
        {
            "score_corpus": lambda: score_corpus(references, hypotheses, policy),
            "bootstrap": lambda: (scored.interval("wer"), scored.interval("cer")),
        },
        repeats=repeats,
    )
    # A recording of half an hour: 2,000 words and 12,000 characters at a stretch.
    long_said, long_heard = " ".join(said_texts)[:12_000], " ".join(heard_texts)[:12_000]
    stretch = common.interleave(
        {
            "loquela, one long text": lambda: ours([long_said], [long_heard]),
            "jiwer, one long text": lambda: theirs([long_said], [long_heard]),
        },
        repeats=repeats,
    )
    words, characters = counted["loquela"]
    print(f"{len(names)} utterances, {words.length} words, {characters.length} characters")
    common.timing_table({**timings, **stretch, **whole})
    speed, long_speed = common.ratio(*timings.values()), common.ratio(*stretch.values())
    print(f"\nloquela is {speed['cpu']} times as fast as jiwer by CPU time, {speed['wall']} by the clock;")
    print(f"on one long text {long_speed['cpu']} and {long_speed['wall']} times")
    common.finish(
        {
            "benchmark": "score",
            "quick": args.quick,
            "utterances": len(names),
            "wer": round(100 * words.rate, 3),
            "cer": round(100 * characters.rate, 3),
            "seconds": {name: timing.figures() for name, timing in {**timings, **stretch, **whole}.items()},
            "times_as_fast": speed,
            "times_as_fast_one_long_text": long_speed,
            "machine": machine,
        }
    )


if __name__ == "__main__":
    main()
