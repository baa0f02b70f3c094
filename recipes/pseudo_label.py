"""What was decoded as texts to train on: ``python -m recipes.pseudo_label MANIFEST --hypothesis H.tsv --out NEW.tsv``.

One round of self-training (noisy student; He et al. 2020, Xu et al. 2021): decode the
unlabelled split with ``recipes.decode_ctc --lm``, sift it here, train a student on the
new manifest (masks and dropout are its noise), and fine-tune it on the gold labels last, with
``encoder: {kind: saved, source: STUDENT}`` and the first manifest. Rows have a column ``label``,
``gold`` or ``pseudo``, by which ``ctc.mix.levels: [label]`` can weigh them, and pseudo-labels a column ``written``
that names the text policy that wrote them: a student of the same policy does not romanise, phonemise or replace again.
Those of an earlier round in the manifest stay what they are.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from asr.cli import guarded
from asr.cli.jobs import check_manifest_out
from asr.manifest import read_manifest, total_hours, write_manifest
from asr.names import composed, given_path, shown
from asr.pseudo import REMEDIES, Heard, SiftConfig, sift
from asr.score_files import decoded_rows
from asr.text import TextPolicy
from lm.errors import InputError


def main() -> int:
    """Parse, sift, write, report."""
    parser = argparse.ArgumentParser(prog="python -m recipes.pseudo_label", description=__doc__)
    parser.add_argument("manifest", type=given_path)
    parser.add_argument("--hypothesis", type=given_path, required=True, help="what recipes.decode_ctc wrote")
    parser.add_argument("--split", default="unlabelled", help="rows that get pseudo-labels")
    parser.add_argument("--keep", type=float, default=1.0, metavar="SHARE", help="surest share to keep")
    parser.add_argument("--min-confidence", type=float, default=0.0, metavar="C")
    parser.add_argument(
        "--rate-quantile",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="texts are left out that are faster, or slower, than all but this share of the language's gold ones "
        "(default 0.01)",
    )
    parser.add_argument("--without-gold", action="store_true", help="leave the gold rows out of the result")
    parser.add_argument(
        "--truth", type=given_path, help="manifest with the true texts, to report the CER of the labels"
    )
    parser.add_argument(
        "--policy",
        type=given_path,
        metavar="PATH",
        help="the recogniser's folder or tokenizer.json: how it writes texts (default policy if none)",
    )
    parser.add_argument("--out", type=given_path, required=True, help="manifest to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a manifest of an earlier run")
    args = parser.parse_args()
    inputs = (args.manifest, args.hypothesis, args.truth, args.policy)
    check_manifest_out(args.out, args.overwrite, filter(None, inputs))
    if args.split == "train" and not args.without_gold:
        raise InputError(
            "--split train names the gold rows, each of which would be written twice, with its text and with what was "
            "heard. Give the rows to be labelled a split of their own, or --without-gold."
        )

    rows = read_manifest(args.manifest)
    train = [row for row in rows if row.split == "train"]
    gold = [row for row in train if row.extra.get("label") != "pseudo"]
    earlier = [] if args.split == "train" else [row for row in train if row.extra.get("label") == "pseudo"]
    unlabelled = [row for row in rows if row.split == args.split]
    if not unlabelled:
        raise InputError(f"manifest {args.manifest} has no row with split {args.split!r}. Give --split.")
    config = SiftConfig(
        keep_share=args.keep, min_confidence=args.min_confidence, rate_quantile=args.rate_quantile
    )
    policy = TextPolicy.read(args.policy)
    sifted = sift(gold, unlabelled, read_heard(args.hypothesis), config, policy)
    if not sifted.utterances:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sifted.left_out.items())
        remedies = " ".join(REMEDIES[reason] for reason in sifted.left_out)
        raise InputError(f"no pseudo-label is left ({reasons}). {remedies}")

    labelled = (
        [] if args.without_gold else [replace(row, extra={**row.extra, "label": "gold"}) for row in gold]
    )
    others = [row for row in rows if row.split not in ("train", args.split)]
    write_manifest([*labelled, *earlier, *sifted.utterances, *others], args.out)
    report = {
        "gold_hours": round(total_hours(gold), 3),
        "unlabelled_hours": round(total_hours(unlabelled), 3),
        "pseudo_hours": round(total_hours(sifted.utterances), 3),
        "earlier_pseudo_hours": round(total_hours(earlier), 3),
        "left_out": dict(sifted.left_out),
    }
    if args.truth:
        truth = {row.id: row.text for row in read_manifest(args.truth)}
        rate, compared = sifted.error_rate(truth, policy)
        report |= {"cer": round(rate, 4), "compared": compared, "of": len(sifted.utterances)}
    print(json.dumps(report))
    return 0


def read_heard(path: Path) -> dict[str, Heard]:
    """Texts and confidences of a table of ``recipes.decode_ctc``.

    Raises:
        InputError: it is none.
    """
    rows = decoded_rows(path, "id", "text", "confidence")
    try:
        return {composed(name): Heard(text, float(confidence)) for name, text, confidence in rows}
    except ValueError as error:
        raise InputError(f"--hypothesis {shown(path)}: {error} in confidence. Decode again.") from error


if __name__ == "__main__":
    sys.exit(guarded(main))
