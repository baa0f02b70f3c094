"""Cut recordings with every segmenter, and say what became of boundaries, of words, and of what is recognised.

``evaluate.py MANIFEST --recordings ch18 --arms ARMS.yaml [--model M [--against M]] --out TABLE.tsv [--choose CHOSEN]``

The manifest's rows are the reference's segments. With a model, its words in time are those of the reference texts
aligned to their own segments, and each segmentation is recognised: the errors of a whole recording are dealt out to the
reference's utterances, so that segmentations are compared by a paired bootstrap over these. ``--choose`` keeps of each
segmenter, with overlap and without, the setting with the fewest word errors, as arms for other recordings;
``--against`` compares the recogniser with another.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from asr.align.words import words_in_time
from asr.audio import measure, stream
from asr.audio.clock import Clock
from asr.cli import guarded
from asr.decode import GreedyDecoder, decode_all
from asr.manifest import Utterance, read_manifest
from asr.score import CorpusScore, score_recordings
from asr.segment import OwnSegments, Segment, build_segmenter, settings_for
from asr.segment.measure import (
    Coverage,
    Matches,
    WordsHit,
    covered,
    hit_words,
    lengths,
    match_boundaries,
)
from asr.transcribe import TranscribeConfig, Transcriber
from lm.errors import InputError

RIVALS = ("reference", "vad", "fixed")
"""Arms that the others are compared with."""


@dataclass(frozen=True)
class Arm:
    """A segmenter with its settings, ``overlap_s`` among them; ``reference`` is the manifest's own."""

    segmenter: str
    settings: dict[str, Any]

    @property
    def kind(self) -> str:
        """What one setting is chosen of."""
        return f"{self.segmenter} with overlap" if self.settings.get("overlap_s") else self.segmenter

    @property
    def name(self) -> str:
        """To be read."""
        return " ".join([self.segmenter, *(f"{key}={value:g}" for key, value in self.settings.items())])


@dataclass
class Outcome:
    """What an arm did on all recordings."""

    segments: list[Segment]
    near: Matches
    far: Matches
    words: WordsHit
    coverage: Coverage
    seconds: float
    """Of audio."""
    cutting_s: float
    """Time for the cutting alone."""
    heard_s: float
    """Time for cutting, encoding and decoding."""
    scores: dict[str, CorpusScore]
    """``greedy`` and, where there is one, ``lm``."""
    others: dict[str, CorpusScore]
    """The same of the recogniser that it is compared with."""


def main() -> int:
    """Read, try every arm, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--recordings", nargs="*", default=[], help="beginnings of their names; none for all")
    parser.add_argument("--split", default="test")
    parser.add_argument("--arms", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--against", help="another recogniser, for the difference of the two")
    parser.add_argument("--segmenter-model", default="")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--choose", type=Path)
    args = parser.parse_args()
    if args.against and not args.model:
        parser.error("--against compares with --model. Give both.")

    by_audio: dict[Path, list[Utterance]] = {}
    for row in read_manifest(args.manifest, split=args.split):
        if not args.recordings or row.audio.stem.startswith(tuple(args.recordings)):
            by_audio.setdefault(row.audio, []).append(row)
    if not by_audio:
        raise InputError(f"{args.manifest} has no recording that begins with {' or '.join(args.recordings)}.")
    for rows in by_audio.values():
        rows.sort(key=lambda row: row.offset_s)
    transcriber = Transcriber.load(args.model) if args.model else None
    other = Transcriber.load(args.against) if args.against else None
    words: dict[Path, list[Segment]] = {}
    for row, found in words_in_time(transcriber.model, [*chain(*by_audio.values())]) if transcriber else []:
        if not isinstance(found, InputError):  # nobody can say where the words of the others lie
            words.setdefault(row.audio, []).extend(Segment(word.start, word.end) for word in found)
    arms = [Arm("reference", {})] + [
        Arm(name, settings)
        for name, grid in yaml.safe_load(args.arms.read_text(encoding="utf-8")).items()
        for settings in grid
    ]
    outcomes: dict[str, Outcome] = {}
    for arm in arms:
        outcome = run_arm(arm, by_audio, words, (transcriber, other), args.segmenter_model)
        outcomes[arm.name] = outcome
        print(f"{arm.name}: {summary(outcome)}", file=sys.stderr, flush=True)
    write_table(outcomes, {name: arm.kind for name, arm in zip(outcomes, arms, strict=True)}, args.out)
    if args.choose:
        choose(arms, outcomes, args.choose)
    return 0


def run_arm(
    arm: Arm,
    by_audio: Mapping[Path, Sequence[Utterance]],
    words: Mapping[Path, Sequence[Segment]],
    transcribers: tuple[Transcriber | None, Transcriber | None],
    classifier: str,
) -> Outcome:
    """Cut every recording, recognise it if there is a model, and measure."""
    total = Outcome([], Matches(), Matches(), WordsHit(), Coverage(), 0.0, 0.0, 0.0, {}, {})
    transcriber, other = transcribers
    given = dict(arm.settings)
    overlap_s = given.pop("overlap_s", 0.0)
    if overlap_s and not transcriber:
        raise InputError(f"{arm.name}: where segments overlap, a recogniser parts them. Give --model.")
    heard: dict[Path, dict[str, str]] = {}
    others: dict[Path, dict[str, str]] = {}
    for audio, rows in by_audio.items():
        reference = [Segment(row.offset_s, row.offset_s + row.duration_s) for row in rows]
        if arm.segmenter == "reference":
            segments, seconds = list(reference), measure(audio)
            config = TranscribeConfig(own=OwnSegments(path=audio, recordings={"": reference}))
        else:
            settings = settings_for(arm.segmenter, **given)
            config = TranscribeConfig(
                segmenter=arm.segmenter, segments=settings, classifier=classifier, overlap_s=overlap_s
            )
            began = time.perf_counter()
            clock = Clock(None)
            segments = [
                segment for segment, _ in build_segmenter(settings, classifier)(clock.watch(stream(audio)))
            ]
            seconds = clock.seconds
            total.cutting_s += time.perf_counter() - began
        if transcriber:
            began = time.perf_counter()
            parted, heard[audio] = recognised(transcriber, config, audio)
            total.heard_s += time.perf_counter() - began
            # Segments that share sound end where the recogniser parts them.
            segments = parted if overlap_s else segments
        if other:
            _, others[audio] = recognised(other, config, audio)
        total.seconds += seconds
        total.segments += segments
        total.near += match_boundaries(reference, segments, tolerance_s=0.2)
        total.far += match_boundaries(reference, segments, tolerance_s=0.5)
        total.words += hit_words(words.get(audio, []), segments)
        total.coverage += covered(reference, segments)
    if transcriber:
        total.scores = scored(heard, by_audio, transcriber)
    if other:
        total.others = scored(others, by_audio, other)
    return total


def scored(
    heard: Mapping[Path, Mapping[str, str]],
    by_audio: Mapping[Path, Sequence[Utterance]],
    transcriber: Transcriber,
) -> dict[str, CorpusScore]:
    """Scores by decoder of what `recognised` gave for each recording."""
    references = {audio.stem: [(row.id, row.text) for row in rows] for audio, rows in by_audio.items()}
    texts: dict[str, dict[str, str]] = {}
    for audio, by_decoder in heard.items():
        for name, text in by_decoder.items():
            texts.setdefault(name, {})[audio.stem] = text
    policy = transcriber.model.tokenizer.policy
    return {name: score_recordings(references, own, policy) for name, own in texts.items()}


def recognised(
    transcriber: Transcriber, config: TranscribeConfig, audio: Path
) -> tuple[list[Segment], dict[str, str]]:
    """Segments of a recording, and its text under them: greedily, and with the language model."""
    tokenizer = transcriber.model.tokenizer
    groups = Transcriber(transcriber.model, transcriber.decoder, config, {}).encoded(audio, stream(audio))
    found = list(chain.from_iterable(groups))
    emissions = [encoded.emissions for _, encoded in found if encoded]
    decoders = {"greedy": GreedyDecoder(tokenizer.surfaces, tokenizer.blank), "lm": transcriber.decoder}
    texts = {
        name: "\n".join(row[0].text for row in decode_all(decoder, emissions))
        for name, decoder in decoders.items()
    }
    return [segment for segment, _ in found], texts


def summary(outcome: Outcome) -> str:
    """One line."""
    rates = ", ".join(f"WER {name} {score.counts('wer').rate:.1%}" for name, score in outcome.scores.items())
    return (
        f"{len(outcome.segments)} segments, F1 {outcome.near.f1:.2f}, cut {outcome.words.cut_share:.1%}"
        + (f", {rates}" if rates else "")
    )


def write_table(outcomes: Mapping[str, Outcome], kinds: Mapping[str, str], out: Path) -> None:
    """A row for each arm, tab-separated; and on stdout in Markdown."""
    rivals = {
        rival: next(outcomes[name] for name, kind in kinds.items() if kind == rival)
        for rival in RIVALS
        if rival in kinds.values()
    }
    rows: list[dict[str, str]] = []
    for name, outcome in outcomes.items():
        spread = lengths(outcome.segments)
        row = {
            "arm": name,
            "segments": str(spread.count),
            "median s": f"{spread.median:.1f}",
            "95 % s": f"{spread.high:.1f}",
            "longest s": f"{spread.longest:.1f}",
            "F1 0.2 s": f"{100 * outcome.near.f1:.1f}",
            "F1 0.5 s": f"{100 * outcome.far.f1:.1f}",
            "time lost %": f"{100 * outcome.coverage.lost_share:.1f}",
            "idle %": f"{100 * outcome.coverage.idle_share:.1f}",
            "x real time": f"{outcome.seconds / outcome.cutting_s:.0f}" if outcome.cutting_s else "",
        }
        if outcome.words.words:
            row |= {
                "words cut %": f"{100 * outcome.words.cut_share:.2f}",
                "words lost %": f"{100 * outcome.words.lost_share:.2f}",
            }
        for decoder, score in outcome.scores.items():
            interval = score.interval("wer")
            row[f"WER {decoder} %"] = (
                f"{100 * score.counts('wer').rate:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
            )
            for rival, other in rivals.items():
                if other is not outcome:
                    row[f"{decoder} minus {rival}"] = difference(score, other.scores[decoder])
            if decoder in outcome.others:
                row[f"{decoder} minus other model"] = difference(score, outcome.others[decoder])
        if outcome.heard_s:
            row["real-time factor"] = f"{outcome.heard_s / outcome.seconds:.4f}"
        rows.append(row)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns, *([row.get(column, "") for column in columns] for row in rows)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join("\t".join(line) + "\n" for line in cells), encoding="utf-8")
    cells.insert(1, ["---"] * len(columns))
    print("\n".join(f"| {' | '.join(line)} |" for line in cells))


def difference(score: CorpusScore, other: CorpusScore) -> str:
    """In WER, with its interval."""
    compared = score.compare(other, "wer")
    low, high = compared.interval.low, compared.interval.high
    return f"{100 * compared.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def choose(arms: Sequence[Arm], outcomes: Mapping[str, Outcome], path: Path) -> None:
    """Keep of each segmenter the setting with the fewest word errors with the language model, or the best F1."""

    def cost(arm: Arm) -> tuple[float, float]:
        outcome = outcomes[arm.name]
        errors = outcome.scores["lm"].counts("wer").rate if outcome.scores else 0.0
        return errors, -outcome.near.f1

    best: dict[str, Arm] = {}
    for arm in sorted(arms, key=cost):
        if arm.segmenter != "reference":
            best.setdefault(arm.kind, arm)
    grid: dict[str, list[dict[str, Any]]] = {}
    for arm in best.values():
        grid.setdefault(arm.segmenter, []).append(arm.settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(grid), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(guarded(main))
