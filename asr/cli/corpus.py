"""``loquela corpus import|align|curate|join|recut|check|stats|export``: to a manifest, looked over and counted."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli import corpus_align, corpus_recut
from asr.cli.jobs import check_manifest_out
from asr.names import given_path
from lm.errors import InputError

if TYPE_CHECKING:
    from asr.check import Finding
    from asr.manifest import Utterance
    from asr.text import TextPolicy

FORMS = {
    "auto": "find out which of the following it is",
    "manifest": "a manifest.tsv of this toolkit, durations measured again",
    "kaldi": "a Kaldi data directory, or a folder of them (one per split)",
    "fairseq": "fairseq wav2vec manifests: .tsv with .ltr or .wrd, or of audio without texts",
    "mustc": "MuST-C, mTEDx, IWSLT's low-resource sets: SPLIT/txt/SPLIT.yaml or SPLIT/stamped.tsv, texts, SPLIT/wav",
    "covost": "CoVoST 2: covost_v2.SOURCE_TARGET.tsv, joined with Common Voice (--audio FOLDER)",
    "commonvoice": "Common Voice: train.tsv, dev.tsv, test.tsv and clips/",
    "elan": "an ELAN .eaf file, or a folder of them",
    "textgrid": "a Praat TextGrid, or a folder of them",
    "table": "a .csv or .tsv table, columns named with --columns or guessed",
    "folder": "a folder of recordings with a .txt file of the same name each",
    "transcript": "subtitles and transcripts with times (.srt, .vtt, .json, .tsv, .stm) beside their recordings",
}
"""What every form of `asr.importers.IMPORTERS` is, here so that the help need not import the readers."""

EXPORT_FORMS = ("kaldi", "fairseq", "csv")
EXAMPLES_SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_import(actions.add_parser("import", help="read a corpus of any form and write its manifest"))
    corpus_align.add_arguments(
        actions.add_parser("align", help="make utterances of recordings with loose transcripts")
    )
    _add_curate(actions.add_parser("curate", help="cut and sift raw recordings into a set to pretrain on"))
    join = actions.add_parser("join", help="put manifests together, with a column that names each")
    join.add_argument("parts", nargs="+", metavar="NAME=MANIFEST", help="manifests, each with its name")
    join.add_argument("--out", required=True, type=given_path, metavar="TSV", help="manifest to write")
    _add_overwrite(join)
    corpus_recut.add_arguments(
        actions.add_parser("recut", help="cut recordings at random words, to train for bad segmentation")
    )
    check = actions.add_parser("check", help="find what is wrong with a corpus, with the remedy")
    _add_manifest(check)
    _add_policy(check)
    check.add_argument(
        "--frames-per-second", type=float, default=25.0, help="of the encoder to be trained (default 25)"
    )
    check.add_argument(
        "--no-audio", action="store_true", help="check the manifest and its texts, not the recordings"
    )
    check.add_argument("--jobs", type=int, default=1, metavar="N", help="files heard at once (default 1)")
    check.add_argument(
        "--all", action="store_true", help=f"print every finding, not the first {EXAMPLES_SHOWN} of a kind"
    )
    check.add_argument("--json", action="store_true", help="one JSON object per finding on stdout")
    stats = actions.add_parser("stats", help="count hours, speakers, words and letters")
    _add_manifest(stats)
    _add_policy(stats)
    stats.add_argument("--json", action="store_true", help="JSON instead of a table")
    export = actions.add_parser("export", help="write a manifest in another toolkit's form")
    _add_manifest(export)
    export.add_argument("--form", required=True, choices=EXPORT_FORMS, help="form to write")
    export.add_argument(
        "--out", required=True, type=given_path, metavar="PATH", help="folder (csv: file) to write"
    )
    _add_overwrite(export)
    for name, action in actions.choices.items():
        action.set_defaults(keeps=name == "curate")


def run(args: argparse.Namespace) -> int:
    """Do the action; 1 when something was left out or an error was found."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "import": _import,
        "align": corpus_align.run,
        "curate": _curate,
        "join": _join,
        "recut": corpus_recut.run,
        "check": _check,
        "stats": _stats,
        "export": _export,
    }
    return actions[args.action](args)


def _add_manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=given_path, help="manifest.tsv")
    parser.add_argument(
        "--corpus",
        type=given_path,
        metavar="FOLDER",
        help="where relative audio paths start (default: beside the manifest)",
    )
    parser.add_argument("--split", default="", metavar="NAME", help="only this split")


def _add_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy",
        type=given_path,
        metavar="PATH",
        help="how training normalises texts: a model folder, its tokenizer.json, or a text policy's own JSON (default "
        "policy if none)",
    )


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what exists of an earlier run")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=given_path, help="file or folder of the corpus")
    parser.add_argument("--out", required=True, type=given_path, metavar="TSV", help="manifest to write")
    _add_overwrite(parser)
    parser.add_argument(
        "--form",
        default="auto",
        choices=FORMS,
        metavar="FORM",
        help="form of the source, of those below (default: auto)",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "forms:\n" + "\n".join(f"  {form:<11}  {summary}" for form, summary in FORMS.items())
    source = parser.add_argument_group("what the source is like")
    source.add_argument(
        "--audio",
        type=given_path,
        metavar="PATH",
        help="folder (or file) of the recordings, if they are elsewhere; covost: Common Voice's folder",
    )
    source.add_argument(
        "--columns",
        type=_mapping,
        default={},
        metavar="OURS=THEIRS,...",
        help="table: e.g. audio=file,text=sentence; mustc: endings, e.g. text=en,translation=de",
    )
    source.add_argument(
        "--tier",
        action="append",
        default=[],
        metavar="NAME",
        help="ELAN, Praat: transcript tier or pattern; repeatable",
    )
    source.add_argument(
        "--translation-tier",
        action="append",
        default=[],
        metavar="NAME",
        help="ELAN, Praat: translation tier; repeatable",
    )
    source.add_argument("--language", default="", help="language of every text")
    source.add_argument("--translation-language", default="", help="language of every translation")
    source.add_argument("--speaker", default="", help="speaker of every utterance")
    source.add_argument(
        "--speaker-pattern",
        default="",
        metavar="REGEX",
        help="the speaker is its first group in the audio's path",
    )
    splits = parser.add_argument_group("splits")
    splits.add_argument(
        "--split", default="", metavar="SHARES", help="train=0.8,dev=0.1,test=0.1; or one name for all"
    )
    splits.add_argument(
        "--split-by",
        choices=("recording", "speaker", "utterance"),
        default="recording",
        help="what splits must not share",
    )
    splits.add_argument("--seed", type=int, default=0, help="of the split (default 0)")
    measuring = parser.add_argument_group("measuring")
    measuring.add_argument(
        "--trust-header", action="store_true", help="take durations from headers: quick, not always true"
    )
    measuring.add_argument(
        "--jobs", type=int, default=0, metavar="N", help="files measured at once (default: one per core)"
    )


def _add_curate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=given_path, help="folder of recordings; its first folders name languages"
    )
    parser.add_argument(
        "--out", required=True, type=given_path, metavar="DIR", help="where manifest and report go"
    )
    parser.add_argument("--language", default="", help="language of every recording")
    parser.add_argument(
        "--min-snr", type=float, default=15.0, metavar="DB", help="least WADA-SNR of a stretch (default 15)"
    )
    parser.add_argument(
        "--max-segment", type=float, default=20.0, metavar="S", help="longest stretch (default 20)"
    )
    parser.add_argument(
        "--keep-music", action="store_true", help="keep what sounds like music or steady noise"
    )
    parser.add_argument(
        "--dev-share",
        type=float,
        default=0.03,
        metavar="SHARE",
        help="of each language's hours, for dev (default 0.03; 0: none)",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="files heard at once (default 1)")


def _mapping(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not pairs or not all(ours.strip() and equals and theirs.strip() for ours, equals, theirs in pairs):
        raise argparse.ArgumentTypeError(f"{text!r}: write OURS=THEIRS, separated by commas")
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def _import(args: argparse.Namespace) -> int:
    import sys
    from dataclasses import replace

    from asr.importers import ImportConfig, assign_splits, import_corpus
    from asr.manifest import total_hours, write_manifest

    shares = _shares(args.split) if set("=,") & set(args.split) else {}
    check_manifest_out(args.out, args.overwrite, [args.source])
    config = ImportConfig(
        audio=args.audio,
        columns=args.columns,
        tiers=tuple(args.tier),
        translation_tiers=tuple(args.translation_tier),
        language=args.language,
        translation_language=args.translation_language,
        speaker=args.speaker,
        speaker_pattern=args.speaker_pattern,
        trust_header=args.trust_header,
        jobs=args.jobs,
        out=args.out,
    )
    with _Progress("measured") as progress:
        imported = import_corpus(args.source, args.form, config, progress=progress)
    for problem in imported.problems:
        print(f"left out: {problem}", file=sys.stderr)
    for note in imported.notes:
        print(f"note: {note}", file=sys.stderr)
    utterances = imported.utterances
    if not utterances:
        raise InputError(
            f"{args.source}: nothing to import. Mend what is named above, or give another source."
        )
    if shares:
        utterances = assign_splits(utterances, shares, by=args.split_by, seed=args.seed)
    elif args.split:
        utterances = [replace(each, split=args.split) for each in utterances]
    write_manifest(utterances, args.out)
    left_out = f", {len(imported.problems)} problem(s) reported" if imported.problems else ""
    print(f"{args.out}: {len(utterances)} utterances, {total_hours(utterances):.2f} hours{left_out}")
    return 1 if imported.problems else 0


def _curate(args: argparse.Namespace) -> int:
    import sys
    from dataclasses import replace

    from asr.curate import CurateConfig, curate
    from asr.manifest import total_hours

    config = CurateConfig(min_snr_db=args.min_snr, language=args.language, dev_share=args.dev_share)
    config = replace(config, vad=replace(config.vad, max_segment_s=args.max_segment))
    if args.keep_music:
        config = replace(config, min_low_energy=0.0)
    with _Progress("heard") as progress:
        utterances, problems = curate(
            args.source, args.out, config, jobs=max(1, args.jobs), progress=progress
        )
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    print((args.out / "report.tsv").read_text(encoding="utf-8"), end="")
    parts = {name: [each for each in utterances if each.split == name] for name in ("train", "dev")}
    hours = ", ".join(f"{name} {total_hours(part):.3g}" for name, part in parts.items())
    print(
        f"{args.out / 'manifest.tsv'}: {len(utterances)} utterances, {total_hours(utterances):.2f} hours ({hours})"
    )
    return 1 if problems else 0


def _join(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from asr.manifest import read_manifest, total_hours, write_manifest

    parts = [part.partition("=") for part in args.parts]
    for name, equals, path in parts:
        if not (name and equals and path):
            part = f"{name}{equals}{path}"
            raise InputError(f"{part!r}: write NAME=MANIFEST, as in killkan=data/killkan/manifest.tsv.")
    if twice := [name for name, count in Counter(name for name, _, _ in parts).items() if count > 1]:
        raise InputError(
            f"the name {twice[0]!r} is given to two manifests, and ids begin with it. Give each its own."
        )
    check_manifest_out(args.out, args.overwrite, [Path(path) for _, _, path in parts])
    corpora = _with_recordings_apart({name: read_manifest(path) for name, _, path in parts})
    joined = [
        replace(each, id=f"{name}_{each.id}", extra={**each.extra, "corpus": name})
        for name, utterances in corpora.items()
        for each in utterances
    ]
    write_manifest(joined, args.out)
    print(f"{args.out}: {len(joined)} utterances, {total_hours(joined):.2f} hours")
    return 0


def _with_recordings_apart(corpora: dict[str, list[Utterance]]) -> dict[str, list[Utterance]]:
    """The same, where corpora have different recordings of one name with these called ``corpus/recording``.

    What lies in one folder under one name is one recording, though several corpora have parts of it.
    """
    import sys
    from dataclasses import replace
    from functools import cache

    from asr.manifest import recording_place

    real = cache(Path.resolve)
    owners: dict[str, dict[Path, str]] = {}  # recording -> folder -> the first corpus that has it there
    for corpus, utterances in corpora.items():
        for each in utterances:
            if each.extra.get("recording"):
                known = owners.setdefault(recording_place(each)[0], {})
                known.setdefault(real(each.audio.parent), corpus)
    shared = {name: known for name, known in owners.items() if len(set(known.values())) > 1}
    if not shared:
        return corpora

    def apart(each: Utterance) -> Utterance:
        known = shared.get(recording_place(each)[0]) if each.extra.get("recording") else None
        if known is None:
            return each
        name = f"{known[real(each.audio.parent)]}/{each.extra['recording']}"
        return replace(each, extra={**each.extra, "recording": name})

    name, known = next(iter(shared.items()))
    names = ", ".join(f"{corpus}/{name}" for corpus in dict.fromkeys(known.values()))
    print(
        f"note: {len(shared)} name(s) of recordings are in several corpora, and stand after the corpus's, as {names}.",
        file=sys.stderr,
    )
    return {corpus: [apart(each) for each in utterances] for corpus, utterances in corpora.items()}


def _shares(text: str) -> dict[str, float]:
    try:
        return {name: float(share) for name, share in _mapping(text).items()}
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise InputError(
            f"--split {text}: write shares as in train=0.8,dev=0.1,test=0.1, or one name."
        ) from error


def _check(args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from asr.check import CheckConfig, check_manifest
    from asr.frames import SAMPLE_RATE, FrameGrid
    from asr.manifest import total_hours

    if not 0 < args.frames_per_second <= SAMPLE_RATE:
        raise InputError(
            f"--frames-per-second {args.frames_per_second}: give a positive number, as in 25 or 50."
        )
    hop = round(SAMPLE_RATE / args.frames_per_second)
    utterances = _read(args)
    config = CheckConfig(policy=_policy(args), grid=FrameGrid(hop_samples=hop, window_samples=hop))
    with _Progress("heard") as progress:
        findings = check_manifest(
            utterances, config, listen=not args.no_audio, jobs=max(1, args.jobs), progress=progress
        )
    if args.json:
        for finding in findings:
            print(json.dumps(asdict(finding), ensure_ascii=False))
    else:
        print(f"{len(utterances)} utterances, {total_hours(utterances):.2f} hours")
        print(_report(findings, shown=None if args.all else EXAMPLES_SHOWN))
    return 1 if any(finding.severity == "error" for finding in findings) else 0


def _report(findings: Sequence[Finding], *, shown: int | None) -> str:
    """Findings by kind: how many, the first few, and what to do."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    lines = []
    for (severity, kind), members in groups.items():
        num_utterances = len({name for each in members for name in each.utterance_ids})
        lines += ["", f"{severity.upper()}  {kind}: {num_utterances} utterance(s)"]
        lines += [f"  {each.message}" for each in members[:shown]]
        if shown is not None and len(members) > shown:
            lines.append(f"  ... and {len(members) - shown} more (--all shows them)")
        lines += [f"  -> {remedy}" for remedy in dict.fromkeys(each.remedy for each in members)]
    counts = {
        severity: sum(each.severity == severity for each in findings)
        for severity in ("error", "warning", "note")
    }
    lines += ["", ", ".join(f"{count} {severity}(s)" for severity, count in counts.items())]
    return "\n".join(lines)


def _stats(args: argparse.Namespace) -> int:
    import json

    from asr.stats import corpus_stats, format_stats

    stats = corpus_stats(_read(args), policy=_policy(args))
    print(json.dumps(stats.to_dict(), ensure_ascii=False) if args.json else format_stats(stats))
    return 0


def _export(args: argparse.Namespace) -> int:
    from asr.importers.writers import export_corpus

    for path in export_corpus(
        _read(args), args.form, args.out, overwrite=args.overwrite, inputs=[args.manifest]
    ):
        print(path)
    return 0


def _policy(args: argparse.Namespace) -> TextPolicy:
    from asr.text import TextPolicy

    return TextPolicy.read(args.policy)


def _read(args: argparse.Namespace) -> list[Utterance]:
    from asr.manifest import read_manifest

    return read_manifest(args.manifest, split=args.split, corpus=args.corpus or "")


class _Progress:
    """A bar on stderr, where that is a terminal."""

    def __init__(self, verb: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=verb, unit="file", disable=None, leave=False)

    def __call__(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
