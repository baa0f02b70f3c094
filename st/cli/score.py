"""`loquela score`: error rates of transcripts, or with ``--translation`` BLEU, chrF++ and TER of translations."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli import score as recognition
from asr.names import composed, given_path
from st.tokenisers import CHARACTER_TOKENIZERS, TOKENIZERS

if TYPE_CHECKING:
    from collections.abc import Collection

    from asr.score_files import Column, References
    from st.score import TranslationScore
    from st.tokenisers import Tokenizer

_TRANSLATION_OPTIONS = ("tokenize", "lowercase", "train_manifest", "comet")
_RECOGNITION_OPTIONS = (
    "policy",
    "unicode_form",
    "case",
    "punctuation",
    "no_spaces",
    "alignments",
    "calibration",
    "plot",
)

_FAR_BETTER = 10
"""Points of chrF++ by which hypotheses must be nearer to the source than to the reference for a warning:
related languages share words, but a translation is not nearer to what it translates."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options for error rates, then those of translations."""
    recognition.add_arguments(parser)
    group = parser.add_argument_group(
        "translations",
        "the reference is the column `translation` of a manifest; --recording-level cuts the hypotheses where "
        "the reference is cut, for the fewest word errors (mwerSegmenter)",
    )
    group.add_argument("--translation", action="store_true", help="score translations: BLEU, chrF++ and TER")
    group.add_argument("--tokenize", choices=TOKENIZERS, help="sacrebleu's tokeniser for BLEU (13a)")
    group.add_argument(
        "--lowercase", action="store_true", help="do not tell case apart (it counts by default)"
    )
    group.add_argument(
        "--train-manifest", type=given_path, metavar="MANIFEST",
        help="also score apart what occurs verbatim among these translations: its rows with split `train`, "
        "or all where there are none",
    )  # fmt: skip
    group.add_argument(
        "--comet", default="", metavar="MODEL",
        help="score by this COMET model too, by name or checkpoint; reads the manifest's `text` and needs the command "
        "comet-score of unbabel-comet, in an environment of its own",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    from lm.errors import InputError

    misplaced = _RECOGNITION_OPTIONS if args.translation else _TRANSLATION_OPTIONS
    given = [f"--{name.replace('_', '-')}" for name in misplaced if getattr(args, name)]
    if given and args.translation:
        raise InputError(f"{given[0]} is for error rates; translations are scored as they are. Leave it out.")
    if given:
        raise InputError(f"{given[0]} is for translations. Add --translation.")
    return _score_translations(args) if args.translation else recognition.run(args)


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """The reference translations, and what is known of each utterance."""

    translations: References
    sources: dict[str, str]
    """id -> what was said; empty where the reference is no manifest."""
    recordings: dict[str, list[tuple[str, str]]]
    """Recording -> its utterances in order of time, as (id, translation)."""


def _score_translations(args: argparse.Namespace) -> int:
    from st.resegment import SIGNATURE
    from st.score import source_match, without_spaces
    from st.score_report import (
        format_translation_report,
        length_groups,
        training_groups,
        translation_report,
    )

    reference = _read_reference(args)
    # Labels and training texts first: a mistake there should not wait for the metrics.
    columns = {column: reference.translations.labels(column) for column in args.by}
    how = recognition.bootstrap_of(args, reference.translations)
    training = _training_translations(args.train_manifest) if args.train_manifest else None
    score = _scored(args, reference, args.hypothesis)
    other = _scored(args, reference, args.against) if args.against else None
    groups: dict[str, dict[str, list[str]]] = {"length": length_groups(score)}
    if training is not None:
        groups["training"] = training_groups(score, training)
    for column, labels in columns.items():
        groups[column] = {label: [] for label in sorted({labels.get(name, "") for name in score.ids})}
        for name in score.ids:
            groups[column][labels.get(name, "")].append(name)
    report = translation_report(
        score,
        groups=groups,
        compare=columns,
        against=other,
        names=(
            recognition.system_name(args.hypothesis),
            recognition.system_name(args.against or args.hypothesis),
        ),
        how=how,
    )
    if args.recording_level:
        report["resegmented"] = SIGNATURE
    if args.tokenize in (None, "13a") and without_spaces(score.references):
        print(
            "most letters of the references are of a script without spaces between words, and --tokenize 13a cuts at "
            "spaces: BLEU and TER compare whole sentences. Give --tokenize zh, ja-mecab or char.",
            file=sys.stderr,
        )
    lines = [json.dumps(report, ensure_ascii=False) if args.json else format_translation_report(report)]
    for system, paths in ((score, args.hypothesis), (other, args.against)):
        if system is not None:
            name = recognition.system_name(paths)
            _warn(system, name, source_match(system, reference.sources), args.recording_level)
            if not args.json:
                lines += recognition.unpaired(name, system.missing, system.unknown, "scored as empty")
    print("\n".join(lines))
    return 0


def _warn(score: TranslationScore, system: str, match: tuple[float, float], recording_level: bool) -> None:
    """Say on stderr what is not in the numbers, or is there without having been translated."""
    recognition.say_ids(system, score.missing, "without a hypothesis, scored as empty")
    recognition.say_ids(system, score.empty, "with an empty hypothesis")
    heard = "; what was translated there goes to the utterances beside" if recording_level else ", left out"
    recognition.say_ids(system, score.no_reference, f"without a reference translation{heard}")
    recognition.say_ids(system, score.unknown, "hypotheses without a reference utterance, left out")
    to_source, to_reference = match
    if to_source > to_reference + _FAR_BETTER:
        print(
            f"{system}: nearer to the reference's `text` than to its `translation` (chrF++ {to_source:.1f} against "
            f"{to_reference:.1f}). Are these transcripts, or are the two columns swapped?",
            file=sys.stderr,
        )


def _scored(args: argparse.Namespace, reference: _Reference, paths: list[Path]) -> TranslationScore:
    from asr.score import check_joined
    from st.resegment import resegment_recordings
    from st.score import score_translations

    tokenize: Tokenizer = args.tokenize or "13a"
    unknown: tuple[str, ...] = ()  # recordings, of which no utterance is left below
    if not args.recording_level:
        hypotheses = _read_hypotheses(paths)
    else:
        recordings = reference.recordings
        transcripts = _read_transcripts(paths, recordings)
        if len(recordings) == len(transcripts) == 1:  # one against one, whatever the file is called
            transcripts = dict(zip(recordings, transcripts.values(), strict=True))
        spoken = [name for name, parts in recordings.items() if any(text.strip() for _, text in parts)]
        if spoken:
            unknown = check_joined(
                transcripts, recordings, spoken, ignore_unknown=args.ignore_unknown, recordings=True
            )
        hypotheses = resegment_recordings(
            recordings, transcripts, characters=tokenize in CHARACTER_TOKENIZERS
        )
    score = score_translations(
        reference.translations.texts,
        hypotheses,
        tokenize=tokenize,
        lowercase=args.lowercase,
        ignore_unknown=args.ignore_unknown,
        comet=args.comet,
        sources=reference.sources,
    )
    return replace(score, unknown=(*unknown, *score.unknown))


def _read_reference(args: argparse.Namespace) -> _Reference:
    """The reference: a manifest, a table, or with --recording-level the translation of one recording."""
    from asr import score_files
    from asr.formats.tiernames import TIER_ENDINGS
    from asr.manifest import read_manifest
    from asr.names import shown
    from lm.errors import InputError

    path: Path = args.reference
    tiered = path.suffix.lower() in TIER_ENDINGS
    if args.tier and not (tiered and args.recording_level):
        raise InputError(
            f"--tier names tiers of an .eaf or .TextGrid reference with --recording-level; {shown(path)} "
            "is read without. Leave it out, or add --recording-level."
        )
    if score_files.means_manifest(path):
        utterances = read_manifest(path, split=args.split)
        return _Reference(
            translations=score_files.references_of(utterances, "translation"),
            sources={utterance.id: utterance.text for utterance in utterances},
            recordings=score_files.recordings_of(utterances, "translation"),
        )
    if args.split:
        raise InputError(f"{shown(path)} is no manifest and has no split {args.split!r}. Leave out --split.")
    if not args.recording_level:
        if path.suffix.lower() in score_files.TRANSCRIPT_ENDINGS:
            raise InputError(
                f"{shown(path)} is the translation of a whole recording. Add --recording-level, or give a "
                "manifest or table."
            )
        return _Reference(
            translations=score_files.References(texts=_read_table(path)), sources={}, recordings={}
        )
    if tiered and args.tier:
        recordings = score_files.read_recordings(path, tiers=args.tier)
    else:
        lines = _segment_lines(path, "translation")
        if not any(lines):
            lines = _segment_lines(path, "text")
        recordings = {
            path.stem: [(f"{path.stem}_{number:04d}", text) for number, text in enumerate(lines, 1)]
        }
    rows = [row for parts in recordings.values() for row in parts]
    labels = {name: recording for recording, parts in recordings.items() for name, _ in parts}
    return _Reference(
        translations=score_files.References(texts=dict(rows), columns={"recording": labels}),
        sources={},
        recordings=recordings,
    )


def _read_hypotheses(paths: list[Path]) -> dict[str, str]:
    """Id -> translation: one table, or transcripts named after their utterances, as `asr.score_files` reads them."""
    from asr.score_files import is_one_table

    return _read_table(paths[0]) if is_one_table(paths) else _read_transcripts(paths)


def _read_transcripts(paths: list[Path], recordings: Collection[str] = ()) -> dict[str, str]:
    """The whole translation of each transcript, a segment on each line, as `asr.score_files` names them.

    Their texts where none of them has a translation; a single one without was not translated.
    """
    from asr.names import shown
    from asr.score_files import read_transcripts
    from lm.errors import InputError

    def lines(path: Path, column: Column) -> list[str]:
        if path.suffix.lower() in (".ctm", ".stm"):
            raise InputError(
                f"{shown(path)} holds a transcript, and no translation. Give the .json, .eaf or .tsv."
            )
        return _segment_lines(path, column)

    def read(column: Column) -> dict[str, str]:
        return read_transcripts(
            paths, partial(lines, column=column), what="translation", recordings=recordings
        )

    translations = read("translation")
    return translations if any(text.strip() for text in translations.values()) else read("text")


def _segment_lines(path: Path, column: Column) -> list[str]:
    """Each segment's translation or text on one line."""
    from asr.formats import read_transcript
    from asr.formats.subtitles import ENDINGS, most_lines
    from asr.names import shown
    from lm.errors import InputError

    if path.suffix.lower() in ENDINGS and most_lines(path) > 1:
        raise InputError(
            f"{shown(path)} has cues of several lines, and does not say which are the translation. "
            "Give the .json, .eaf or .tsv, or cues of one line."
        )
    return [" ".join(getattr(segment, column).split()) for segment in read_transcript(path).segments]


def _read_table(path: Path) -> dict[str, str]:
    """Composed id -> the column `translation` where there is one and it is filled, else as `read_table`."""
    from asr.formats.files import read_text
    from asr.names import shown
    from asr.score_files import columns_of, read_table
    from lm.errors import InputError

    header = columns_of(path)
    if not {"id", "translation"} <= set(header):
        return read_table(path)
    texts: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n")[1:], start=2):
        cells = line.rstrip("\r").split("\t")
        if cells == [""]:
            continue
        if len(cells) != len(header):
            raise InputError(f"{shown(path)}, line {number}: {len(cells)} cells for {len(header)} columns.")
        name = composed(cells[header.index("id")])
        if not name or name in texts:
            raise InputError(f"{shown(path)}, line {number}: the id {name!r} is empty or occurs twice.")
        texts[name] = cells[header.index("translation")].strip()
    if "text" in header and not any(texts.values()):
        return read_table(path)  # a manifest always has the column, and the system wrote into the other
    return texts


def _training_translations(path: Path) -> set[str]:
    from asr.manifest import read_manifest
    from lm.errors import InputError
    from st.score_report import verbatim

    utterances = read_manifest(path)
    if any(utterance.split == "train" for utterance in utterances):
        utterances = [utterance for utterance in utterances if utterance.split == "train"]
    training = verbatim([utterance.translation for utterance in utterances])
    if not training:
        raise InputError(f"--train-manifest {path} has no translation. Give the manifest trained on.")
    return training
