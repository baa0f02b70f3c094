"""Models of Omnilingual ASR and of fairseq2 by their asset names, fetched without either package."""

from __future__ import annotations

import os
import re
from pathlib import Path

from filelock import FileLock
from huggingface_hub import cached_assets_path
from huggingface_hub.file_download import http_get

from lm.errors import InputError

FILES = "https://dl.fbaipublicfiles.com/"
SIZES = ("300M", "1B", "3B", "7B")
# Checkpoint and tokenizer, as the cards of omnilingual-asr 0.2.0 and fairseq2 0.8.1 name them.
ASSETS = {
    **{f"omniASR_W2V_{size}": (f"mms/omniASR-W2V-{size}.pt", "") for size in SIZES},
    **{
        f"omniASR_CTC_{size}": (f"mms/omniASR-CTC-{size}.pt", "mms/omniASR_tokenizer.model") for size in SIZES
    },
    **{
        f"omniASR_CTC_{size}_v2": (f"mms/omniASR-CTC-{size}-v2.pt", "mms/omniASR_tokenizer_written_v2.model")
        for size in SIZES
    },
    "wav2vec2_base": ("fairseq/wav2vec/wav2vec2_fs2_small.pt", ""),
    "wav2vec2_large": ("fairseq/wav2vec/wav2vec2_fs2_large_ls960.pt", ""),
    "wav2vec2_large_lv60k": ("fairseq/wav2vec/wav2vec2_fs2_large_lv60k.pt", ""),
}
"""Encoders and CTC recognisers by name. fairseq2 has a recogniser, too, whose labels it does not publish."""
OMNILINGUAL = re.compile(r"(?:facebook/)?(?P<name>omniASR[-_].+)")


def asset_files(source: str | Path) -> tuple[Path, Path | None] | None:
    """Checkpoint of an asset such as ``omniASR_CTC_300M_v2``, and the tokenizer of a CTC model.

    They are fetched once, into the hub's cache; a download that broke off goes on where it ended. None where the name
    is no asset's.

    Raises:
        InputError: there is no such asset of Omnilingual ASR's, it is of a kind that cannot be read, or it cannot be
            fetched.
    """
    if Path(source).exists():
        return None
    omnilingual = OMNILINGUAL.fullmatch(str(source))
    # On the hub the same models are called facebook/omniASR-CTC-300M.
    name = omnilingual["name"].replace("-", "_") if omnilingual else str(source)
    if name not in ASSETS:
        if not omnilingual:
            return None
        raise InputError(
            f"asset {source}: only omniASR_W2V_ and omniASR_CTC_ with {', '.join(SIZES)} are read, and _v2 of the "
            "latter (encoders and CTC recognisers). Choose one of those."
        )
    checkpoint, tokenizer = ASSETS[name]
    try:
        return _fetched(checkpoint), _fetched(tokenizer) if tokenizer else None
    except Exception as error:  # the hub's own, its HTTP client's and the system's: none is ours to name
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"asset {source} cannot be fetched ({reason}). Bring the network up, or give the .pt file."
        ) from error


def _fetched(file: str) -> Path:
    """A file of the server's in the cache, fetched where it is not there yet."""
    path: Path = cached_assets_path("loquela") / file.rsplit("/", 1)[-1]
    begun = path.with_name(path.name + ".incomplete")
    # Several processes of one training ask at once.
    with FileLock(path.with_name(path.name + ".lock")):
        if not path.is_file():
            with begun.open("ab") as stream:
                # One byte once more: behind the last one of a file that is whole a server has nothing to send.
                stream.truncate(max(0, stream.tell() - 1))
                stream.seek(0, os.SEEK_END)
                http_get(FILES + file, stream, resume_size=stream.tell())
            os.replace(begun, path)
    return path
