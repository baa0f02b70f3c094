"""The demo: transcribe and translate the bundled recording with the bundled models, and show what came of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from asr.audio import measure
from asr.cli import guarded
from asr.manifest import read_manifest
from asr.score import score_corpus
from st import Translator
from st.resegment import resegment_recordings
from st.score import score_translations

MINI = Path(__file__).parents[1]
TEXT_TRANSLATOR = MINI.parent / "mini_en" / "model"
RECORDING = MINI / "demo" / "talk.ogg"
FORMATS = ("srt", "TextGrid", "eaf", "json")


def main() -> int:
    """Transcribe and translate, print both with their times, score, write the files."""
    started = time.monotonic()
    translator = Translator.load(MINI / "model", cascade=TEXT_TRANSLATOR)
    loaded = time.monotonic()
    transcript = translator.translate(RECORDING)
    seconds = time.monotonic() - loaded

    print(f"{RECORDING.name}: synthetic speech, made with the project; see egs/mini/README.md\n")
    for segment in transcript.segments:
        print(f"{segment.start:7.2f} - {segment.end:6.2f}  {segment.text}\n{'':18}{segment.translation}")

    # The cuts are the recogniser's own, so the texts are compared as one.
    rows = sorted(read_manifest(MINI / "demo" / "talk.reference.tsv"), key=lambda row: row.offset_s)
    reference = " ".join(row.text for row in rows)
    policy = translator.transcriber.model.tokenizer.policy
    score = score_corpus({"talk": reference}, {"talk": " ".join(transcript.text.split("\n"))}, policy)
    words, characters = score.counts("wer"), score.counts("cer")
    print(f"\nWER {words.rate:.1%} ({words.errors} of {words.length} words), CER {characters.rate:.1%}")
    print(f"text policy: {policy.describe()}")
    references = {row.id: row.translation for row in rows}
    translated = "\n".join(segment.translation for segment in transcript.segments)
    pieces = resegment_recordings({"talk": list(references.items())}, {"talk": translated})
    translations = score_translations(references, pieces)
    print(
        f"BLEU {translations.score('bleu'):.1f}, chrF++ {translations.score('chrf'):.1f}, of {len(rows)} utterances"
    )
    duration = measure(RECORDING)
    print(
        f"{duration:.1f} s of audio in {seconds:.1f} s: real-time factor {seconds / duration:.3f} "
        f"(and {loaded - started:.1f} s to load the models)"
    )

    out = MINI / "out"
    for name in FORMATS:
        path = transcript.save(out / f"talk.{name}", overwrite=True)
        print(f"wrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
