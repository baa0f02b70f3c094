"""Translate a split: ``python -m recipes.decode_st MODEL MANIFEST --split test --out hyp.tsv``.

MODEL is a speech translator; or a text translator, which translates the manifest's transcripts, or those of
``--texts``, a table that recipes.decode_ctc wrote: the second half of a cascade. A text translator is one of ours, or a
published one by hub name (NLLB-200, M2M-100, mBART-50, Marian). With ``--with`` several translators of ours that write
the same labels, of speech or of text, write together: of each label the mean of their probabilities counts.
Writes one row per utterance: id, text (the translation), score, and the further ones of the n-best list as JSON.
``loquela score --translation`` reads it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asr.batches import in_rows
from asr.card import own_folder
from asr.cli import guarded
from asr.cli.jobs import check_table_out
from asr.cli.score import say_ids
from asr.ctc import encoded
from asr.emissions import encoded_utterances
from asr.formats.files import write_whole
from asr.manifest import Utterance, languages_of, read_manifest, total_hours
from asr.names import given_path
from asr.opened import device_named
from asr.score_files import read_hypotheses, written_by
from asr.text import WRITTEN
from lm.errors import InputError
from st.languages import refuse_other_languages
from st.model import Memory, SpeechTranslator, TextTranslator, load_translator
from st.open_texts import open_text_translator
from st.search import TranslationSearchConfig, translate
from st.texts import (
    BATCH,
    Legibility,
    OwnTranslator,
    Scored,
    TextToText,
    refuse_ctc_score,
    text_memories,
)
from st.translate import look

BLOCK = 1024
"""Utterances whose memories are held at once."""


def main() -> int:
    """Parse, translate, write."""
    parser = argparse.ArgumentParser(prog="python -m recipes.decode_st", description=__doc__)
    parser.add_argument(
        "model", help="experiment or model folder of a translator, or an MT model by hub name"
    )
    parser.add_argument("manifest", type=given_path)
    parser.add_argument(
        "--with",
        dest="others",
        action="append",
        default=[],
        metavar="MODEL",
        help="another translator that writes together with it, as one of another seed; may be given several times",
    )
    parser.add_argument("--split", default="", help="rows to translate (default: all)")
    parser.add_argument("--corpus", default="", help="folder that relative audio paths start from")
    parser.add_argument("--texts", type=given_path, help="table of transcripts for a text translator")
    parser.add_argument(
        "--source-language", default="", metavar="CODE", help="of a published MT model, as quy_Latn"
    )
    parser.add_argument("--target-language", default="", metavar="CODE", help="the same, as spa_Latn")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--length-penalty", type=float, default=1.0)
    parser.add_argument("--ctc-weight", type=float, default=0.0)
    parser.add_argument("--nbest", type=int, default=1)
    parser.add_argument("--max-labels", type=int, default=1000, help="most labels of a translation")
    parser.add_argument(
        "--max-ratio", type=float, default=2.0, help="most labels for each frame or source label, beyond 200"
    )
    parser.add_argument("--out", type=given_path, required=True, help="table to write")
    args = parser.parse_args()
    check_table_out(args.out, (args.manifest, args.texts))

    config = TranslationSearchConfig(
        beam=args.beam,
        length_penalty=args.length_penalty,
        ctc_weight=args.ctc_weight,
        num_hypotheses=args.nbest,
        max_labels=args.max_labels,
        max_ratio=args.max_ratio,
    )
    utterances = read_manifest(args.manifest, split=args.split, corpus=args.corpus)
    started = time.monotonic()
    texts = _with_heard(utterances, args.texts) if args.texts else utterances
    if own_folder(args.model):
        found = _by_ours(args, utterances, texts, config)
    else:
        found = _by_a_published_one(args, texts, config)

    # One table, in the manifest's order, whole or not at all.
    lines = ["id\ttext\tscore\talternatives"]
    for utterance in utterances:
        if utterance.id in found:
            best, *rest = found[utterance.id]
            further = json.dumps([each.text for each in rest], ensure_ascii=False)
            lines.append("\t".join([utterance.id, best.text, f"{best.score:.4f}", further]))
    write_whole(args.out, (f"{line}\n".encode() for line in lines), overwrite=True)
    if empty := sum(not best.text for best, *_ in found.values()):
        print(f"{empty} of {len(found)} utterances have no translation", file=sys.stderr)
    if cut := sum(best.cut for best, *_ in found.values()):
        print(config.cut_off(cut), file=sys.stderr)
    seconds = time.monotonic() - started
    print(
        f"{len(found)} utterances, {total_hours(utterances):.3f} h in {seconds:.1f} s -> {args.out}",
        file=sys.stderr,
    )
    return int(len(found) < len(utterances))


def _with_heard(utterances: Sequence[Utterance], table: Path) -> list[Utterance]:
    """The utterances with the texts of a table that a recogniser wrote; one that it lacks has none."""
    texts, written = read_hypotheses([table]), written_by([table])
    return [
        replace(row, text=texts.get(row.id, ""), extra={**row.extra, WRITTEN: written}) for row in utterances
    ]


def _by_ours(
    args: argparse.Namespace,
    utterances: Sequence[Utterance],
    texts: Sequence[Utterance],
    config: TranslationSearchConfig,
) -> dict[str, list[Scored]]:
    """Translations of each utterance by one or several translators of ours, best first."""
    voices: list[_Hearing | _Reading] = []
    for name in (args.model, *args.others):
        model = load_translator(name, device_named(args.device))
        refuse_other_languages(f"model {name}", model, utterances)
        if isinstance(model, SpeechTranslator):
            voices.append(_Hearing(model))
        else:
            refuse_ctc_score(name, config)
            voices.append(_Reading(model, name, texts, str(args.texts or args.manifest)))
    if args.texts and all(isinstance(voice, _Hearing) for voice in voices):
        raise InputError(f"--texts {args.texts} is for a text translator; {args.model} translates speech.")
    for option in ("source_language", "target_language"):
        if given := getattr(args, option):
            raise InputError(
                f"--{option.replace('_', '-')} is {given}, and {args.model} knows its languages. Leave it out."
            )
    tokenizer = voices[0].model.tokenizer
    for name, voice in zip(args.others, voices[1:], strict=True):
        if voice.model.tokenizer.surfaces != tokenizer.surfaces:
            raise InputError(
                f"--with {name} writes other labels than {args.model}. Give one whose decoder began with the same text "
                "translator's (decoder_from), or that was trained on the same translations."
            )
    found: dict[str, list[Scored]] = {}
    for block in in_rows(utterances, BLOCK):
        seen = [voice.memories(block) for voice in voices]
        there = [row.id for row in block if all(row.id in each for each in seen)]
        # Alike lengths together, so that little is padding.
        there.sort(key=lambda name: int(seen[0][name].num_frames))
        for ids in in_rows(there, BATCH):
            first, *others = [
                (voice.model.decoder, Memory.together([each[name] for name in ids]))
                for voice, each in zip(voices, seen, strict=True)
            ]
            for name, written in zip(ids, translate(*first, config, others), strict=True):
                found[name] = [
                    Scored(tokenizer.decode(each.labels), each.score, each.cut) for each in written
                ]
    return found


def _by_a_published_one(
    args: argparse.Namespace, rows: Sequence[Utterance], config: TranslationSearchConfig
) -> dict[str, list[Scored]]:
    """The translation of each text; that of one it cannot read is empty."""
    for option, given in (("--with", args.others), ("--nbest", args.nbest > 1)):
        if given:
            raise InputError(
                f"{option} is for translators of ours, and {args.model} is no folder of one. Leave it out."
            )
    model = open_text_translator(
        args.model,
        source_language=args.source_language,
        target_language=args.target_language,
        language="+".join(languages_of(rows)),
        device=device_named(args.device),
        search=config,
    )
    silent = [row.id for row in rows if not row.text.strip()]
    unread = _unread(model, args.model, rows, silent, str(args.texts or args.manifest))
    read = ["" if row.id in unread else row.text for row in rows]
    return {row.id: [each] for row, each in zip(rows, model.translate(read), strict=True)}


def _unread(
    model: TextToText, name: str | Path, rows: Sequence[Utterance], silent: Sequence[str], source: str
) -> set[str]:
    """Utterances whose text a model cannot read; these and the silent ones are told on stderr.

    Args:
        silent: utterances without a text.
        source: where the texts are from.
    Raises:
        InputError: there are no texts, or it cannot read enough of them.
    """
    if len(silent) == len(rows):
        raise InputError(
            f"{source}: none of the {len(rows)} utterances has a text in it that {name} can read. "
            "Give the transcripts of this split with --texts."
        )
    legibility = Legibility(model, name)
    unread = [row.id for row in rows if not legibility.reads(row.text) and row.id not in silent]
    legibility.check(source)
    say_ids(source, silent, "without a text to translate, left empty")
    say_ids(source, unread, f"with a text that {name} cannot read, left empty")
    return set(unread)


class _Hearing:
    """A speech translator, and what its decoder looks at."""

    def __init__(self, model: SpeechTranslator) -> None:
        self.model = model

    def memories(self, rows: Sequence[Utterance]) -> dict[str, Memory]:
        """Of each, by id; one that cannot be heard is told on stderr and left out."""
        found = {}
        encoder = self.model.recogniser
        for row, both in encoded_utterances(lambda waveforms: look(self.model, waveforms), encoder, rows):
            if isinstance(both, InputError):
                print(f"left out: {both}", file=sys.stderr)
            else:
                found[row.id] = both[1]
        return found


class _Reading:
    """A text translator, and what its decoder looks at."""

    def __init__(
        self, model: TextTranslator, name: str | Path, rows: Sequence[Utterance], source: str
    ) -> None:
        """
        Args:
            rows: all whose texts will be translated; of those that it cannot read some are left empty, and told.
            source: where the texts are from.
        Raises:
            InputError: there are no texts, or it cannot read enough of them.
        """
        self.model = model
        self.labels = {row.id: encoded(model.source, row) for row in rows}
        silent = [row.id for row in rows if not self.labels[row.id]]
        keys = {row.extra.get(WRITTEN, "") for row in rows}
        reader = OwnTranslator(model, written=keys.pop() if len(keys) == 1 else "")
        for each in _unread(reader, name, rows, silent, source):
            self.labels[each] = []

    def memories(self, rows: Sequence[Utterance]) -> dict[str, Memory]:
        """Of each, by id; of a text that is empty, an empty one."""
        ids = [row.id for row in rows]
        return dict(zip(ids, text_memories(self.model, [self.labels[name] for name in ids]), strict=True))


if __name__ == "__main__":
    sys.exit(guarded(main))
