"""Make the mini corpus: sentences from the grammars, spoken by espeak-ng, as Opus and a manifest.

    python egs/mini/local/make_corpus.py --out egs/mini --seed 1

writes OUT/data/<language>/<split>/<speaker>.opus, OUT/data/manifest.tsv, OUT/demo/talk.ogg and
OUT/demo/talk.reference.tsv. The same seed and the same espeak-ng give the same files' texts, times
and samples before encoding.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from plan import Line, make_plan
from speak import require_espeak, speak
from vary import coloured, mix, set_level, vary

from asr.arrays import FloatArray
from asr.frames import SAMPLE_RATE, samples_to_seconds, seconds_to_samples
from asr.manifest import Utterance, write_manifest
from lm.errors import InputError

GAP_S = 0.3
"""Between the utterances of one file."""
COMPRESSION = 0.95
"""libsndfile's scale for Opus: about 17 kbit/s at 16 kHz mono."""
_FLOOR = 10 ** (-75 / 20)
"""RMS of the noise between utterances."""


def main() -> int:
    """Parse, make, print what was made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder that gets data/ and demo/")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    try:
        version = require_espeak()
        print(f"espeak-ng {version}, seed {args.seed}", file=sys.stderr)
        utterances = make_corpus(args.out, args.seed)
    except InputError as error:
        print(f"make_corpus: {error}", file=sys.stderr)
        return 1
    for row in summary(utterances):
        print("\t".join(row))
    return 0


def make_corpus(out: Path, seed: int) -> list[Utterance]:
    """Make everything under ``out``; the rows of the corpus and then those of the demo."""
    lines = make_plan(seed)
    packed: dict[Path, list[Line]] = defaultdict(list)
    demo: list[Line] = []
    for line in lines:
        folder = out / "data" / line.language / line.split
        (demo if line.split == "demo" else packed[folder / f"{line.voice.name}.opus"]).append(line)
    # espeak-ng runs beside us and libsndfile lets go of the interpreter lock, so threads do.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        speech = dict(zip((line.id for line in lines), pool.map(speak, lines), strict=True))
        babble = [speech[line.id] for line in lines if line.split == "train"]
        groups = pool.map(lambda path: _pack(path, packed[path], speech, babble, seed), packed)
        corpus = [row for group in groups for row in group]
    write_manifest(corpus, out / "data" / "manifest.tsv")
    talk = _talk(out / "demo" / "talk.ogg", demo, speech, seed)
    write_manifest(talk, out / "demo" / "talk.reference.tsv")
    return corpus + talk


def summary(utterances: Iterable[Utterance]) -> list[list[str]]:
    """Utterances, speakers and minutes by language and split, with a header."""
    groups: dict[tuple[str, str], list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        groups[utterance.language, utterance.split].append(utterance)
    rows = [["language", "split", "utterances", "speakers", "minutes"]]
    for (language, split), group in groups.items():
        minutes = sum(utterance.duration_s for utterance in group) / 60
        rows.append(
            [language, split, str(len(group)), str(len({u.speaker for u in group})), f"{minutes:.2f}"]
        )
    return rows


def _pack(
    path: Path, lines: Sequence[Line], speech: dict[str, FloatArray], babble: Sequence[FloatArray], seed: int
) -> list[Utterance]:
    """One file of a speaker's utterances, each as its domain records it."""
    rng = _rng(seed, str(lines[0].id))
    parts = [_silence(GAP_S, rng)]
    rows: list[Utterance] = []
    for line in lines:
        rng = _rng(seed, line.id)
        waveform = vary(_with_margins(speech[line.id], rng), line.domain, rng, babble)
        rows.append(_row(line, path, parts, waveform))
        parts += [waveform, _silence(GAP_S, rng)]
    _write(path, np.concatenate(parts))
    return rows


def _talk(path: Path, lines: Sequence[Line], speech: dict[str, FloatArray], seed: int) -> list[Utterance]:
    """One recording of a voice that speaks with natural pauses, over a steady quiet noise."""
    rng = _rng(seed, "talk")
    parts = [np.zeros(seconds_to_samples(0.8), dtype=np.float32)]
    rows: list[Utterance] = []
    for line in lines:
        waveform = set_level(_whole_ms(speech[line.id]), -24)
        rows.append(_row(line, path, parts, waveform))
        pause_s = round(float(rng.uniform(0.4, 1.5)), 3)
        parts += [waveform, np.zeros(seconds_to_samples(pause_s), dtype=np.float32)]
    waveform = np.concatenate(parts)
    _write(path, mix(waveform, coloured(len(waveform), rng, pink=True), 30))
    return rows


def _row(line: Line, path: Path, before: Sequence[FloatArray], waveform: FloatArray) -> Utterance:
    return Utterance(
        id=line.id,
        audio=path,
        offset_s=samples_to_seconds(sum(map(len, before))),
        duration_s=samples_to_seconds(len(waveform)),
        text=line.text,
        translation=line.translation,
        language=line.language,
        translation_language="eng",
        speaker=line.voice.name,
        gender=line.voice.gender,
        split=line.split,
        extra={"domain": "noise" if line.split == "demo" else line.domain},
    )


def _with_margins(speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    before, after = (seconds_to_samples(float(rng.uniform(0.08, 0.2))) for _ in range(2))
    return _whole_ms(np.pad(speech, (before, after)))


def _whole_ms(waveform: FloatArray) -> FloatArray:
    """Padded to whole milliseconds, the precision of a manifest's times."""
    return np.pad(waveform, (0, -len(waveform) % (SAMPLE_RATE // 1000)))


def _silence(seconds: float, rng: np.random.Generator) -> FloatArray:
    return (_FLOOR * rng.standard_normal(seconds_to_samples(seconds))).astype(np.float32)


def _rng(seed: int, name: str) -> np.random.Generator:
    """A generator for each thing by its name, so that one more sentence changes no other."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _write(path: Path, waveform: FloatArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    soundfile.write(
        partial, waveform, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=COMPRESSION
    )
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main())
