"""How well a model's speech finds its text: ``python -m recipes.retrieve MODEL MANIFEST --split dev``.

Prints as JSON the share of utterances whose own transcript is the nearest of all by optimal transport (one
distance for all models: unit-length states, blur 0.05), the mean distances to the own and to other texts, the
numbers of utterances and of different texts, and the share that would be right by chance, one of these.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.batches import padded
from asr.cli import guarded
from asr.ctc import encoded
from asr.emissions import encoded_utterances
from asr.manifest import read_manifest, with_text
from asr.names import given_path
from lm.errors import InputError
from st.retrieval import retrieve
from st.siamese import load_siamese


def main() -> int:
    """Parse, encode, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m recipes.retrieve", description=__doc__)
    parser.add_argument("model", help="experiment or model folder of a recogniser")
    parser.add_argument("manifest", type=given_path)
    parser.add_argument("--split", default="", help="rows to compare (default: all)")
    parser.add_argument("--corpus", default="", help="folder that relative audio paths start from")
    parser.add_argument(
        "--text-from",
        default="",
        help="text translator whose encoder to compare with (default: the model's own)",
    )
    args = parser.parse_args()

    model = load_siamese(args.model, args.text_from)
    tokenizer = model.recogniser.tokenizer
    rows = with_text(read_manifest(args.manifest, split=args.split, corpus=args.corpus))

    @torch.inference_mode()
    def encode(waveforms: Sequence[NDArray[np.float32]]) -> list[Tensor]:
        batch, num_samples = padded(waveforms)
        speech, num_frames = model.speech(batch, num_samples)
        return [states[:frames] for states, frames in zip(speech, num_frames.tolist(), strict=True)]

    speech, texts, written = [], [], []
    for row, states in encoded_utterances(encode, model.recogniser, rows):
        labels = encoded(tokenizer, row)
        if isinstance(states, InputError) or not labels:
            print(
                f"left out {row.id}: {states if isinstance(states, InputError) else 'no text'}",
                file=sys.stderr,
            )
            continue
        speech.append(states)
        written.append(labels)
        with torch.inference_mode():
            read, num_read = model.texts(torch.tensor([labels]), torch.tensor([len(labels)]))
            texts.append(read[0, : int(num_read)])
    if len(speech) < 2:
        raise InputError(
            f"manifest {args.manifest}: {len(speech)} utterance(s) with speech and text, and two are the fewest to "
            "compare. Give a split with transcripts."
        )
    found = retrieve(speech, texts, labels=written)
    if found.num_texts < 2:
        raise InputError(
            f"manifest {args.manifest}: all {len(speech)} utterances have one transcript, and there is no other text "
            "to find. Give a split with several."
        )
    print(
        json.dumps(
            {
                "utterances": len(speech),
                "texts": found.num_texts,
                "chance": found.chance,
                "first": found.first,
                "own": found.own,
                "other": found.other,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
