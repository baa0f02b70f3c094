"""Omnilingual ASR's models by their asset names, fetched from the hub without fairseq2."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import hf_hub_download

from lm.errors import InputError

NAME = re.compile(r"(?:facebook/)?omniASR[-_](?P<kind>[A-Z0-9]+)[-_](?P<size>[0-9.]+[MB])(?P<rest>.*)$")
KINDS = ("W2V", "CTC")
SIZES = ("300M", "1B", "3B", "7B")
TOKENIZER = ("facebook/omniASR-LLM-7B-ZS", "omniASR_tokenizer.model")
"""Where the tokenizer of every CTC model lies."""


def asset_files(source: str | Path) -> tuple[Path, Path | None] | None:
    """Checkpoint of an asset such as ``omniASR_CTC_300M``, and the tokenizer of a CTC model.

    None where the name is no asset's.

    Raises:
        InputError: there is no such asset, it is of a kind that cannot be read, or it cannot be fetched.
    """
    match = NAME.match(str(source))
    if match is None or Path(source).exists():
        return None
    kind, size = match["kind"], match["size"]
    if kind not in KINDS or size not in SIZES or match["rest"]:
        raise InputError(
            f"asset {source}: only omniASR_W2V_ and omniASR_CTC_ with {', '.join(SIZES)} are read (encoders and "
            "CTC recognisers). Choose one of those."
        )
    name = f"omniASR-{kind}-{size}"
    try:
        checkpoint = Path(hf_hub_download(f"facebook/{name}", f"{name}.pt"))
        tokenizer = Path(hf_hub_download(*TOKENIZER)) if kind == "CTC" else None
    except Exception as error:  # the hub's own, its HTTP client's and the system's: none is ours to name
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"asset {source} cannot be fetched ({reason}). Bring the network up, or give the .pt file."
        ) from error
    return checkpoint, tokenizer
