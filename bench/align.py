"""How well lines are found in a long recording, and what it costs.

`python -m bench.align --corpus KILLKAN [--quick]`

The corpus does not come along: it is a folder of whole recordings with a manifest whose column ``recording`` says in
which and where each line is, as ``ch19@16.580-21.045``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

if not __package__:  # run as `python bench/align.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from numpy.typing import NDArray

from asr.align import AlignedLine, Aligner, Alignment, SearchConfig
from asr.align.search import GAP, best_path
from asr.align.spool import Spool
from asr.audio import measure, stream
from asr.frames import FrameGrid
from asr.manifest import read_manifest
from asr.segment import Segment
from asr.transcribe import Transcriber
from asr.transcript import Transcript, TranscriptSegment
from bench import common
from lm.errors import InputError

MODEL = Path(__file__).resolve().parents[1] / "egs" / "killkan" / "model"
SHARE = 0.1
WITHIN_S = (0.3, 0.5)
FRAMES_PER_S, LABELS_PER_S, LABELS = 50, 14, 32
PROTOCOL = f"""A recording is aligned with its transcript, one line for each of the linguists' utterances, with the
model in {MODEL.relative_to(MODEL.parents[2])}, whole; then with {SHARE:.0%} of the lines taken out and as many foreign
ones put in, from another chapter of the same drama, at random places, once for each seed; then with that chapter's
own transcript. Times are those of the manifest. A line is right if its start and its end are both within 0.3 s; shares
are of all true lines that are in the transcript, found or not. The threshold is the default: 1 % of decoys, which are
the transcript's own lines, pass. The costs of the search and the edges of lines were chosen on chapter 18, the
threshold of shares on 17 and 18. ctc-segmentation, where it is installed, gets the same emissions on an even grid,
silence between segments; its lines have its own edges, at the middle of a pause. The pure alignment is of synthetic
emissions ({FRAMES_PER_S} frames and {LABELS_PER_S} labels a second, {LABELS} labels, a line of 40 labels in ten not in
the transcript, and as many that are not said), on disk before the clock starts, each in a process of its own whose
memory is compared with before."""


@dataclass(frozen=True)
class Said:
    """A line of a transcript and where it is said; nowhere: foreign."""

    text: str
    span: tuple[float, float] | None


def chapter(corpus: Path, name: str) -> list[Said]:
    """The lines of a recording, in order."""
    found = []
    for row in read_manifest(corpus / "manifest.tsv"):
        recording, _, span = row.extra["recording"].partition("@")
        if recording == name:
            start, end = map(float, span.split("-"))
            found.append(Said(row.text, (start, end)))
    return sorted(found, key=lambda said: said.span or ())


def loosened(lines: Sequence[Said], others: Sequence[Said], seed: int) -> list[Said]:
    """A tenth of the lines taken out, and as many others put in."""
    draw = np.random.default_rng(seed)
    count = round(SHARE * len(lines))
    out = set(draw.choice(len(lines), count, replace=False).tolist())
    mixed = [line for place, line in enumerate(lines) if place not in out]
    own = {line.text for line in lines}  # refrains are in every chapter
    foreign = [line for line in others if line.text not in own]
    for place in draw.choice(len(foreign), count, replace=False):
        mixed.insert(int(draw.integers(len(mixed) + 1)), Said(foreign[place].text, None))
    return mixed


def transcript_of(lines: Sequence[Said]) -> Transcript:
    """The lines without their times."""
    segments = tuple(TranscriptSegment(start=0.0, end=0.0, text=line.text) for line in lines)
    return Transcript(recording="", audio=Path(), duration=0.0, segments=segments)


def right(span: tuple[float, float], wanted: tuple[float, float], within: float) -> bool:
    """Whether both ends are."""
    return all(abs(one - other) <= within for one, other in zip(span, wanted, strict=True))


def judge(lines: Sequence[Said], alignment: Alignment, threshold: float) -> dict[str, float]:
    """Shares of true lines with the right times, and what became of foreign and of true lines."""
    true: list[tuple[AlignedLine, tuple[float, float]]] = []
    foreign: list[AlignedLine] = []
    for each in alignment.lines:
        span = lines[each.line.number - 1].span
        if span is None:
            foreign.append(each)
        else:
            true.append((each, span))
    figures: dict[str, float] = {}
    for within in WITHIN_S:
        good = sum(
            each.placed and right((each.segment.start, each.segment.end), span, within) for each, span in true
        )
        figures[f"within_{within}"] = good / len(true)
    figures["true_rejected"] = sum(each.score <= threshold for each, _ in true) / len(true)
    if foreign:
        figures["foreign_rejected"] = sum(each.score <= threshold for each in foreign) / len(foreign)
        figures["foreign_not_heard"] = sum(not each.placed for each in foreign) / len(foreign)
    return figures


class Peer:
    """ctc-segmentation on the same emissions."""

    def __init__(self, transcriber: Transcriber, path: Path) -> None:
        self.tokenizer, grid = transcriber.model.tokenizer, transcriber.model.grid
        frames = round(measure(path) * grid.frames_per_second) + 1
        self.emissions = np.full((frames, len(self.tokenizer)), -30.0, dtype=np.float32)
        self.emissions[:, self.tokenizer.blank] = 0.0
        for segment, encoded in chain.from_iterable(transcriber.encoded(path, stream(path))):
            if encoded is not None:
                self._put(segment, encoded.emissions, grid)
        self.frame_s = grid.frame_s

    def _put(self, segment: Segment, emissions: NDArray[np.float32], grid: FrameGrid) -> None:
        first = round((segment.start + grid.start_s(0)) * grid.frames_per_second)
        room = self.emissions[first : first + len(emissions)]
        room[:] = emissions[: len(room)]

    def within(self, lines: Sequence[Said]) -> dict[str, float]:
        """Shares of true lines with the right times."""
        import ctc_segmentation as peer

        config = peer.CtcSegmentationParameters(
            index_duration=self.frame_s, char_list=[str(label) for label in range(len(self.tokenizer))]
        )
        kept = [line for line in lines if self.tokenizer.encode(line.text)]
        labels = [np.array(self.tokenizer.encode(line.text)) for line in kept]
        truth, begins = peer.prepare_token_list(config, labels)
        timings, probabilities, _ = peer.ctc_segmentation(config, self.emissions, truth)
        spans = peer.determine_utterance_segments(config, begins, probabilities, timings, labels)
        true = [(span[:2], line.span) for span, line in zip(spans, kept, strict=True) if line.span]
        return {
            f"within_{within}": sum(right(span, wanted, within) for span, wanted in true) / len(true)
            for within in WITHIN_S
        }


def synthetic(hours: float, seed: int = 0) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32], int]]:
    """Emissions (T, K) of one line after the other, its labels, and 1 in the transcript, 0 not, -1 not said."""
    draw = np.random.default_rng(seed)
    per_label = FRAMES_PER_S / LABELS_PER_S
    length = 40
    for _ in range(round(hours * 3600 * LABELS_PER_S / length)):
        labels = draw.integers(GAP + 1, GAP + 1 + LABELS, length).astype(np.int32)
        rows = draw.normal(-9.0, 2.0, (round(length * per_label), GAP + 1 + LABELS)).astype(np.float32)
        rows[:, 0] = -0.05
        peaks = (np.arange(length) * per_label).astype(np.int64)
        heard = np.where(draw.random(length) < 0.9, labels, draw.integers(GAP + 1, GAP + 1 + LABELS, length))
        rows[peaks, heard] = -0.2
        rows[peaks, 0] = -5.0
        rows[:, GAP] = np.maximum(rows[:, 0], rows.max(axis=1) - SearchConfig.star_cost)
        kind = draw.random()
        yield rows, labels, 0 if kind < SHARE else 1
        if kind > 1 - SHARE:
            foreign = draw.integers(GAP + 1, GAP + 1 + LABELS, length).astype(np.int32)
            yield rows[:0], foreign, -1


def align_synthetic(hours: float) -> dict[str, float]:
    """Time and memory of the search alone, and what it found."""
    warm = next(iter(synthetic(1 / 60)))
    with Spool(warm[0].shape[1]) as spool:
        spool.append(warm[0])
        best_path(spool, [warm[1]], SearchConfig())
        lines, places = [], []
    with Spool(GAP + 1 + LABELS) as spool:
        for rows, labels, kind in synthetic(hours):
            if kind:
                lines.append(labels)
                places.append(len(spool) if kind > 0 else -1)
            spool.append(rows)
        before = common.memory_mib()
        began, worked = time.perf_counter(), time.process_time()
        found = best_path(spool, lines, SearchConfig())
        wall, cpu = time.perf_counter() - began, time.process_time() - worked
        frames = len(spool)
    near = [
        each is not None and abs(int(each[0, 0]) - place) <= WITHIN_S[0] * FRAMES_PER_S
        for each, place in zip(found.frames, places, strict=True)
        if place >= 0
    ]
    passed = [each is None for each, place in zip(found.frames, places, strict=True) if place < 0]
    return {
        "hours": hours,
        "frames": frames,
        "labels": sum(map(len, lines)),
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "memory_before_mib": round(before, 1),
        "memory_added_mib": round(common.memory_mib() - before, 1),
        "within_0.3": round(statistics.mean(near), 4),
        "foreign_passed_over": round(statistics.mean(passed), 4) if passed else 1.0,
    }


def align_real(corpus: Path, name: str, other: str, seeds: int) -> dict[str, Any]:
    """The figures of a recording."""
    path = corpus / "recordings" / f"{name}.ogg"
    own, others = chapter(corpus, name), chapter(corpus, other)
    transcriber = Transcriber.load(MODEL, lm="none", device="cpu")
    aligner = Aligner(transcriber)
    aligner.align(path, transcript_of(own[:1]))  # compiles
    transcripts = {
        "whole": own,
        **{f"loose, seed {seed}": loosened(own, others, seed) for seed in range(seeds)},
    }
    found: dict[str, dict[str, float]] = {}
    seconds = []
    duration = 0.0
    for title, lines in transcripts.items():
        began = time.perf_counter()
        alignment = aligner.align(path, transcript_of(lines))
        seconds.append(time.perf_counter() - began)
        duration = alignment.duration
        threshold = aligner.threshold([alignment])
        found[title] = {**judge(lines, alignment, threshold), "threshold": threshold}
    wrong = aligner.align(path, transcript_of(others))
    threshold = aligner.threshold([wrong])
    try:
        wrong.check(threshold, aligner.config)
        refused = False
    except InputError as error:
        print(f"another chapter's transcript: {error}\n")
        refused = True
    memory_mib = common.memory_mib()  # before the peer takes more
    theirs: dict[str, dict[str, float]] = {}
    if _has_peer():
        peer = Peer(transcriber, path)
        theirs = {title: peer.within(lines) for title, lines in transcripts.items()}
    columns = ["within_0.3", "within_0.5", "true_rejected", "foreign_rejected", "foreign_not_heard"]
    common.table(
        [
            "transcript",
            "<= 0.3 s",
            "<= 0.5 s",
            "true rejected",
            "foreign rejected",
            "of them not heard",
            "threshold",
        ],
        [
            [
                title,
                *(f"{each[column]:.1%}" if column in each else "" for column in columns),
                f"{each['threshold']:.2f}",
            ]
            for title, each in found.items()
        ],
    )
    if theirs:
        print("\nctc-segmentation:")
        common.table(
            ["transcript", "<= 0.3 s", "<= 0.5 s"],
            [[title, *(f"{each[column]:.1%}" for column in columns[:2])] for title, each in theirs.items()],
        )
    loose = [each for title, each in found.items() if title != "whole"]
    return {
        "audio_s": round(duration, 1),
        "wall_s": round(statistics.median(seconds), 2),
        "real_time_factor": round(statistics.median(seconds) / duration, 4),
        "whole": _rounded(found["whole"]),
        "loose_mean": _rounded(_mean(loose)),
        "ctc_segmentation_whole": _rounded(theirs.get("whole", {})),
        "ctc_segmentation_loose_mean": _rounded(
            _mean([each for title, each in theirs.items() if title != "whole"])
        ),
        "another_transcript": {
            "accepted": round(len(wrong.accepted(threshold)) / len(wrong.lines), 4),
            "refused": refused,
        },
        "memory_mib": round(memory_mib, 1),
        "memory_with_peer_mib": round(common.memory_mib(), 1),
    }


def _has_peer() -> bool:
    try:
        import ctc_segmentation  # noqa: F401
    except ImportError:
        print("ctc-segmentation is not installed: not compared (pip install ctc-segmentation)\n")
        return False
    return True


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.mean(row[name] for row in rows) for name in rows[0]} if rows else {}


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def main() -> None:
    """Measure, print, and end with the figures."""
    options = common.parser("Accuracy, speed and memory of alignment.")
    options.add_argument(
        "--corpus", type=Path, required=True, help="folder of killkan: manifest and recordings"
    )
    options.add_argument("--recording", default="ch19", help="to align (default: ch19, of the test split)")
    options.add_argument("--other", default="ch18", help="where foreign lines come from (default: ch18)")
    options.add_argument("--seeds", type=int, default=5, help="loosened transcripts (default: 5)")
    options.add_argument(
        "--hours", type=float, nargs="+", default=[1, 3, 11], help="synthetic (default: 1 3 11)"
    )
    args = options.parse_args()
    for needed in (args.corpus / "manifest.tsv", args.corpus / "recordings" / f"{args.recording}.ogg"):
        if not needed.is_file():
            sys.exit(f"{needed} is missing. Give --corpus the folder of a corpus with whole recordings.")
    machine = common.start("alignment", PROTOCOL, "numba", "ctc-segmentation")
    torch.set_num_threads(int(machine["threads"]) if str(machine["threads"]).isdigit() else 2)
    real = align_real(args.corpus, args.recording, args.other, 1 if args.quick else args.seeds)
    pure = [common.alone(align_synthetic, hours) for hours in (args.hours[:1] if args.quick else args.hours)]
    print()
    common.table(list(pure[0]), [list(row.values()) for row in pure])
    common.finish({**real, "pure": pure, "machine": machine})


if __name__ == "__main__":
    main()
