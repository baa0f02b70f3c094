"""Texts beside the corpus, from its grammars: ``more_texts.py MANIFEST LINES OUT``.

A translator of text needs more sentences than somebody has spoken. Lines of each language that nobody says in the
corpus's dev, test or demo, a share of them several sentences long as the segments of a recording are, join the
training rows of the manifest; dev and test stay as they are. Words that are held back from training stay held back.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

MINI = Path(__file__).parents[2] / "mini"
sys.path.insert(0, str(MINI / "local"))

from grammar import Grammar, Sentence, grammars, words  # noqa: E402

from asr.cli import guarded  # noqa: E402
from asr.manifest import Utterance, read_manifest, write_manifest  # noqa: E402

MAX_SENTENCES = 4
LONG = 0.3
"""Share of the lines that have more than one sentence."""
NO_AUDIO = Path("text-only")


def main() -> int:
    """Read the corpus, draw, write all."""
    manifest, count, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    rows = read_manifest(manifest)
    unheard = [row for row in rows if row.split != "train"]
    unheard += read_manifest(MINI / "demo" / "talk.reference.tsv")
    kept_back = {" ".join(words(row.text)) for row in unheard}
    drawn = [row for grammar in grammars() for row in lines_of(grammar, count, kept_back)]
    write_manifest([*rows, *drawn], out)
    print(f"{out}: {len(drawn)} lines beside the corpus's {len(rows)}", file=sys.stderr)
    return 0


def lines_of(grammar: Grammar, count: int, kept_back: set[str]) -> Iterator[Utterance]:
    """Training rows without audio."""
    rng = random.Random(f"texts/{grammar.language}")
    for number in range(count):
        wanted = rng.randint(2, MAX_SENTENCES) if rng.random() < LONG else 1
        said: list[Sentence] = []
        while len(said) < wanted:
            sentence = grammar.sentence(rng)
            if " ".join(words(sentence.text)) not in kept_back:
                said.append(sentence)
        yield Utterance(
            id=f"{grammar.language}-text-{number:05d}",
            audio=NO_AUDIO,
            duration_s=1.0,
            text=" ".join(sentence.text for sentence in said),
            translation=" ".join(sentence.translation for sentence in said),
            language=grammar.language,
            translation_language="eng",
            split="train",
        )


if __name__ == "__main__":
    sys.exit(guarded(main))
