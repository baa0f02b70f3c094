"""The text translator as bundled, and the lines that it was trained on beside the corpus."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from asr.manifest import read_manifest
from st import Translator
from st.resegment import resegment_recordings
from st.score import score_translations

EGS = Path(__file__).parents[2] / "egs"
MINI, MINI_EN = EGS / "mini", EGS / "mini_en"


def test_the_bundled_cascade_translates_the_demo() -> None:
    rows = read_manifest(MINI / "demo" / "talk.reference.tsv")
    translator = Translator.load(MINI / "model", cascade=MINI_EN / "model")
    transcript = translator.translate(MINI / "demo" / "talk.ogg")
    assert transcript.translation_language == "eng"
    assert all(segment.text and segment.translation for segment in transcript.segments)
    references = {row.id: row.translation for row in rows}
    translated = "\n".join(segment.translation for segment in transcript.segments)
    pieces = resegment_recordings({"talk": list(references.items())}, {"talk": translated})
    score = score_translations(references, pieces)
    assert score.score("bleu") > 60


def test_more_lines_keep_dev_test_and_demo_apart(tmp_path: Path) -> None:
    manifest = MINI / "data" / "manifest.tsv"
    out = tmp_path / "texts.tsv"
    command = [sys.executable, str(MINI_EN / "local" / "more_texts.py"), str(manifest), "200", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    rows, corpus = read_manifest(out), read_manifest(manifest)
    assert [row.id for row in rows[: len(corpus)]] == [row.id for row in corpus]
    drawn = rows[len(corpus) :]
    assert len(drawn) == 3 * 200
    assert {row.language for row in drawn} == {"gug", "mri", "quy"}
    assert all(row.split == "train" and row.text and row.translation for row in drawn)
    demo = read_manifest(MINI / "demo" / "talk.reference.tsv")
    apart = {row.text.lower() for row in [*corpus, *demo] if row.split != "train"}
    assert not [row.id for row in drawn if row.text.lower() in apart]
    assert any(row.text.count(".") > 1 for row in drawn)
