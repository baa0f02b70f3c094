"""Translate a split: ``python -m recipes.decode_st MODEL MANIFEST --split test --out hyp.tsv``.

MODEL is a speech translator; or a text translator, which translates the manifest's transcripts, or those of
``--texts``, a table that recipes.decode_ctc wrote: the second half of a cascade. Writes one row per
utterance: id, text (the translation), score, and the further ones of the n-best list as JSON. ``loquela score
--translation`` reads it.
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
from asr.cli import guarded
from asr.cli.jobs import check_table_out
from asr.cli.score import say_ids
from asr.ctc import encoded
from asr.emissions import encoded_utterances
from asr.formats.files import write_whole
from asr.manifest import Utterance, read_manifest, total_hours
from asr.names import given_path
from asr.opened import device_named
from asr.score_files import read_hypotheses, written_by
from asr.text import WRITTEN
from lm.errors import InputError
from st.languages import refuse_other_languages
from st.model import Memory, SpeechTranslator, load_translator
from st.search import TranslationHypothesis, TranslationSearchConfig
from st.texts import BATCH, Legibility, OwnTranslator, refuse_ctc_score, translate_labels
from st.translate import look, search_together


def main() -> int:
    """Parse, translate, write."""
    parser = argparse.ArgumentParser(prog="python -m recipes.decode_st", description=__doc__)
    parser.add_argument("model", help="experiment or model folder of a translator")
    parser.add_argument("manifest", type=given_path)
    parser.add_argument("--split", default="", help="rows to translate (default: all)")
    parser.add_argument("--corpus", default="", help="folder that relative audio paths start from")
    parser.add_argument("--texts", type=given_path, help="table of transcripts for a text translator")
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

    model = load_translator(args.model, device_named(args.device))
    config = TranslationSearchConfig(
        beam=args.beam,
        length_penalty=args.length_penalty,
        ctc_weight=args.ctc_weight,
        num_hypotheses=args.nbest,
        max_labels=args.max_labels,
        max_ratio=args.max_ratio,
    )
    utterances = read_manifest(args.manifest, split=args.split, corpus=args.corpus)
    refuse_other_languages(f"model {args.model}", model, utterances)
    started = time.monotonic()
    found: dict[str, list[TranslationHypothesis]] = {}
    failed = False
    if isinstance(model, SpeechTranslator):
        if args.texts:
            raise InputError(
                f"--texts {args.texts} is for a text translator; {args.model} translates speech."
            )
        speaking = model
        seen = encoded_utterances(lambda waveforms: look(speaking, waveforms), model.recogniser, utterances)
        for rows in in_rows(seen, BATCH):
            memories: dict[str, Memory] = {}
            for utterance, both in rows:
                if isinstance(both, InputError):
                    print(f"left out: {both}", file=sys.stderr)
                    failed = True
                else:
                    memories[utterance.id] = both[1]
            together = search_together(speaking, list(memories.values()), config)
            found.update(zip(memories, together, strict=True))
    else:
        refuse_ctc_score(args.model, config)
        read_from = _with_heard(utterances, args.texts) if args.texts else utterances
        labels = [encoded(model.source, row) for row in read_from]
        silent = [row.id for row, read in zip(utterances, labels, strict=True) if not read]
        source = str(args.texts or args.manifest)
        if len(silent) == len(utterances):
            raise InputError(
                f"{source}: none of the {len(utterances)} utterances has a text in it that {args.model} can read. "
                "Give the transcripts of this split with --texts."
            )
        keys = {row.extra.get(WRITTEN, "") for row in read_from}
        written = keys.pop() if len(keys) == 1 else ""
        legibility = Legibility(OwnTranslator(model, written=written), args.model)
        unread = []
        for row, read in zip(read_from, labels, strict=True):
            if not legibility.reads(row.text) and read:
                unread.append(row.id)
                read.clear()
        legibility.check(source)
        say_ids(source, silent, "without a text to translate, left empty")
        say_ids(source, unread, f"with a text that {args.model} cannot read, left empty")
        for row, hypotheses in zip(utterances, translate_labels(model, labels, config), strict=True):
            found[row.id] = hypotheses

    # One table, in the manifest's order, whole or not at all.
    lines = ["id\ttext\tscore\talternatives"]
    for utterance in utterances:
        if utterance.id in found:
            best, *others = found[utterance.id]
            further = json.dumps([model.tokenizer.decode(each.labels) for each in others], ensure_ascii=False)
            lines.append(
                "\t".join([utterance.id, model.tokenizer.decode(best.labels), f"{best.score:.4f}", further])
            )
    write_whole(args.out, (f"{line}\n".encode() for line in lines), overwrite=True)
    if empty := sum(not model.tokenizer.decode(best.labels) for best, *_ in found.values()):
        print(f"{empty} of {len(found)} utterances have no translation", file=sys.stderr)
    if cut := sum(best.cut for best, *_ in found.values()):
        print(config.cut_off(cut), file=sys.stderr)
    seconds = time.monotonic() - started
    print(
        f"{len(found)} utterances, {total_hours(utterances):.3f} h in {seconds:.1f} s -> {args.out}",
        file=sys.stderr,
    )
    return int(failed)


def _with_heard(utterances: Sequence[Utterance], table: Path) -> list[Utterance]:
    """The utterances with the texts of a table that a recogniser wrote; one that it lacks has none."""
    texts, written = read_hypotheses([table]), written_by([table])
    return [
        replace(row, text=texts.get(row.id, ""), extra={**row.extra, WRITTEN: written}) for row in utterances
    ]


if __name__ == "__main__":
    sys.exit(guarded(main))
