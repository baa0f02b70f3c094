"""`loquela score`: error rates of transcripts, with intervals, alignments and comparisons."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.names import given_path
from lm.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asr.bootstrap import Bootstrap
    from asr.score import CorpusScore
    from asr.score_files import References
    from asr.text import TextPolicy

_SHOWN_IDS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, in the order that the texts travel."""
    parser.set_defaults(keeps=False)
    texts = parser.add_argument_group("texts")
    texts.add_argument(
        "--reference", type=given_path, required=True, metavar="FILE",
        help="a manifest; or a text: tsv (id, text), trn, Kaldi's `id text`; "
        "with --recording-level also an .eaf, .TextGrid or other transcript",
    )  # fmt: skip
    texts.add_argument(
        "--hypothesis", type=given_path, required=True, nargs="+", metavar="FILE",
        help="a text of the same forms, or transcripts named after what they transcribe, or their folder",
    )  # fmt: skip
    texts.add_argument(
        "--against", type=given_path, nargs="+", default=[], metavar="FILE",
        help="a second system's output: paired bootstrap of the difference",
    )  # fmt: skip
    texts.add_argument("--split", default="", help="score this split of the manifest")
    texts.add_argument(
        "--ignore-unknown", action="store_true", help="leave out hypotheses without a reference"
    )
    texts.add_argument(
        "--recording-level", action="store_true",
        help="align each whole recording, wherever reference and transcript were cut",
    )  # fmt: skip
    texts.add_argument(
        "--tier", action="append", default=[], metavar="NAME",
        help="tier or pattern of an .eaf or .TextGrid reference; repeatable",
    )  # fmt: skip

    policy = parser.add_argument_group("text policy, applied to both sides")
    policy.add_argument(
        "--policy", type=given_path, metavar="PATH",
        help="a model folder, a tokenizer.json or a policy's own JSON; the options below change it. Under one that "
        "writes phones, hypotheses must be in phones",
    )  # fmt: skip
    policy.add_argument("--unicode-form", choices=("NFC", "NFD", "NFKC", "NFKD"), help="canonical form")
    policy.add_argument("--case", choices=("lower", "lower-turkic", "keep"))
    policy.add_argument("--punctuation", choices=("remove", "keep"))
    policy.add_argument(
        "--no-spaces", action="store_true",
        help="do not count the space between words as a character of the CER (it counts by default)",
    )  # fmt: skip

    numbers = parser.add_argument_group("numbers")
    numbers.add_argument(
        "--by", action="append", default=[], metavar="COLUMN",
        help="also score each value of this manifest column: speaker, gender, language, split, recording "
        "or any other; repeatable",
    )  # fmt: skip
    numbers.add_argument("--resamples", type=_resamples, default=1000, help="draws of the bootstrap (1000)")
    numbers.add_argument("--seed", type=int, default=0, help="of the draws (0)")
    numbers.add_argument("--draw", default="", metavar="COLUMN", help="draw speakers, say, for utterances")

    numbers.add_argument(
        "--calibration", action="store_true",
        help="also say whether words of which the system is sure are right as often; reads the word_confidences of "
        "recipes.decode_ctc, or .json and .ctm transcripts",
    )  # fmt: skip

    output = parser.add_argument_group("output")
    output.add_argument(
        "--plot",
        type=given_path,
        metavar="FILE",
        help="with --calibration: draw the reliability diagram (png, svg, pdf)",
    )
    output.add_argument("--json", action="store_true", help="one line of JSON in place of the table")
    output.add_argument("--alignments", type=given_path, metavar="FILE", help="write every alignment here")
    output.add_argument("--overwrite", action="store_true", help="replace the alignments file if it exists")


def run(args: argparse.Namespace) -> int:
    """Score, print, and write the alignments."""
    from asr.formats.files import keep_inputs
    from asr.score_report import format_report, score_report

    if args.alignments:
        inputs = (args.reference, *args.hypothesis, *args.against)
        keep_inputs(args.alignments, {each.resolve() for each in inputs}, "--alignments")
    policy = _policy(args)
    score, references = _scored(args, policy, args.hypothesis)
    other = _scored(args, policy, args.against)[0] if args.against else None
    report = score_report(
        score,
        by={column: references.labels(column) for column in args.by},
        against=other,
        names=(system_name(args.hypothesis), system_name(args.against or args.hypothesis)),
        how=bootstrap_of(args, references),
    )
    if args.alignments:
        _write_alignments(score, args.alignments, args.overwrite)
    lines: list[str] = []
    for system, paths in ((score, args.hypothesis), (other, args.against)):
        if system is not None:
            _warn(system, paths)
            lines += unpaired(system_name(paths), system.missing, system.unknown, "counted as deletions")
    if args.calibration:
        report["calibration"] = _calibration(args, score, references)
    elif args.plot:
        raise InputError("--plot is given without --calibration. Add it, or leave the plot out.")
    print(json.dumps(report, ensure_ascii=False) if args.json else "\n".join([format_report(report), *lines]))
    return 0


def _calibration(args: argparse.Namespace, score: CorpusScore, references: References) -> dict[str, Any]:
    """How far the words' confidences can be trusted, as JSON values; draws it if it is to."""
    from dataclasses import asdict

    from asr.calibration import judge, reliability
    from asr.score_files import read_confidences

    groups = references.labels("recording") if args.recording_level else None
    confidences = read_confidences(args.hypothesis, set(groups.values()) if groups else ())
    if groups and len(set(groups.values())) == len(confidences) == 1:  # one against one, whatever its name
        confidences = dict.fromkeys(groups.values(), next(iter(confidences.values())))
    sure, right, odd = judge(score, confidences, groups)
    say_ids(
        system_name(args.hypothesis), odd, "with other words than confidences, left out of the calibration"
    )
    if not sure:
        raise InputError(
            "no word has a confidence that fits. Score with the policy that the system writes by."
        )
    found = reliability(sure, right)
    if args.plot:
        from asr.inspect.plots import reliability_diagram

        reliability_diagram(found, system_name(args.hypothesis), args.plot)
    return asdict(found)


def bootstrap_of(args: argparse.Namespace, references: References) -> Bootstrap:
    """What the arguments say of intervals."""
    from asr.bootstrap import Bootstrap

    units = references.labels(args.draw) if args.draw else None
    return Bootstrap(units=units, drawn=args.draw or "utterance", resamples=args.resamples, seed=args.seed)


def _resamples(value: str) -> int:
    if not (value.isdecimal() and 100 <= int(value) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of draws. Give 100 to 1000000.")
    return int(value)


def _policy(args: argparse.Namespace) -> TextPolicy:
    from asr.text import TextPolicy

    values = TextPolicy.read(args.policy).to_dict()
    for name in ("unicode_form", "case", "punctuation"):
        if getattr(args, name):
            values[name] = getattr(args, name)
    return TextPolicy.from_dict(values)


def _scored(
    args: argparse.Namespace, policy: TextPolicy, paths: list[Path]
) -> tuple[CorpusScore, References]:
    from asr import score_files
    from asr.manifest import read_manifest
    from asr.score import score_corpus, score_recordings

    spaces, ignore = not args.no_spaces, args.ignore_unknown
    if not args.recording_level:
        if args.tier:
            raise InputError("--tier is given without --recording-level. Add it, or leave out the tier.")
        references = score_files.read_references(args.reference, split=args.split)
        hypotheses = score_files.read_hypotheses(paths)
        written = score_files.written_by(paths)
        if written and written != policy.key:
            print(
                f"{system_name(paths)}: its model writes by another text policy than it is scored by, and what they do "
                "otherwise counts as errors. Give its folder as --policy, without other options of the policy.",
                file=sys.stderr,
            )
        score = score_corpus(
            references.texts, hypotheses, policy, spaces=spaces, ignore_unknown=ignore, written=written
        )
        if written != policy.key:
            _warn_of_twice(score, policy, paths)
        return score, references
    if score_files.means_manifest(args.reference) and not args.tier:
        rows = read_manifest(args.reference, split=args.split)
        recordings, references = score_files.recordings_of(rows), score_files.references_of(rows)
    else:
        recordings = score_files.read_recordings(args.reference, split=args.split, tiers=args.tier)
        labels = {name: recording for recording, parts in recordings.items() for name, _ in parts}
        references = score_files.References(texts={}, columns={"recording": labels})
    hypotheses = score_files.read_transcripts(paths, recordings=recordings)
    if len(recordings) == len(hypotheses) == 1:  # one against one, whatever the file is called
        hypotheses = dict(zip(recordings, hypotheses.values(), strict=True))
    score = score_recordings(recordings, hypotheses, policy, spaces=spaces, ignore_unknown=ignore)
    _warn_of_twice(score, policy, paths)
    return score, references


def system_name(paths: list[Path]) -> str:
    """A system as it is spoken of: its first file, and how many more."""
    return str(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _warn_of_twice(score: CorpusScore, policy: TextPolicy, paths: list[Path]) -> None:
    """Say on stderr where the policy's rules would change what its own model wrote, if that is what is scored."""
    again = policy.of_phones()
    twice = [
        each.id for each in score.utterances if policy.replace and again(each.reference) != each.reference
    ]
    say_ids(
        system_name(paths), twice,
        "references that the policy's `replace` changes a second time; if its own model wrote the hypotheses, it "
        "changes them so, too, which counts as errors (of tables of recipes.decode_ctc it is known)",
    )  # fmt: skip


def _warn(score: CorpusScore, paths: list[Path]) -> None:
    """Say on stderr what is not in the numbers, or is there without having been recognised."""
    say_ids(system_name(paths), score.missing, "without a hypothesis, counted as deletions")
    inserted = set(score.inserted)
    left_out = [name for name in score.no_reference if name not in inserted]
    say_ids(system_name(paths), left_out, "without a reference, left out")
    heard = "what was heard there counts as insertions"
    say_ids(system_name(paths), score.inserted, f"without a reference; {heard}")
    say_ids(system_name(paths), score.unknown, "hypotheses without a reference utterance, left out")


def unpaired(system: str, missing: Sequence[str], unknown: Sequence[str], counted: str) -> list[str]:
    """The line below a table on what had no partner, if anything: stderr is gone where the table is kept."""
    found = [f"{len(missing)} without a hypothesis, {counted}"] if missing else []
    found += [f"{len(unknown)} hypotheses without a reference, left out"] if unknown else []
    return [f"unpaired   {system}: {'; '.join(found)}"] if found else []


def say_ids(system: str, ids: Sequence[str], what: str) -> None:
    """Say on stderr how many ids there are of a kind, if any, and the first of them."""
    if ids:
        more = ", ..." if len(ids) > _SHOWN_IDS else ""
        print(f"{system}: {len(ids)} {what}: {', '.join(ids[:_SHOWN_IDS])}{more}", file=sys.stderr)


def _write_alignments(score: CorpusScore, path: Path, overwrite: bool) -> None:
    from asr.formats.files import write_whole
    from asr.score import format_alignment

    blocks = [score.signature("wer"), *(format_alignment(utterance) for utterance in score.utterances)]
    write_whole(path, [("\n\n".join(blocks) + "\n").encode()], overwrite=overwrite)
