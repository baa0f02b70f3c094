"""``loquela.json``: what a model folder holds, and the checksums of its files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asr.checkpoint import write_folder
from asr.names import given_path
from lm.errors import InputError
from lm.files import sha256

FORMAT = 1
CARD = "loquela.json"
WEIGHTS = "model.safetensors"


@contextmanager
def write_model_folder(folder: str | Path) -> Iterator[Path]:
    """`write_folder` in place of nothing or of a model; whatever else lies there is kept.

    Raises:
        InputError: there is something else.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CARD).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is no model folder, so it is kept. Give another folder.")
    with write_folder(folder) as partial:
        yield partial


def write_card(folder: Path, files: Sequence[str], **content: Any) -> None:
    """Write the card of a folder whose ``files`` are there already."""
    card = {"format": FORMAT, **content, "sha256": {name: sha256(folder / name) for name in files}}
    (folder / CARD).write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def model_folder(source: str | Path) -> Path:
    """The model folder that an experiment or model folder means.

    Raises:
        InputError: there is none.
    """
    folder = own_folder(source)
    if folder is None:
        raise _no_model(source)
    return folder


def _no_model(source: str | Path) -> InputError:
    if not given_path(source).is_dir():
        return InputError(
            f"model {source}: no such folder. Give an experiment or model folder, or train one first."
        )
    return InputError(f"model {source}: no {CARD} in it. Give the folder that training wrote.")


def own_folder(source: str | Path) -> Path | None:
    """As `model_folder`; None where ``source`` is no folder of ours, as a published model's."""
    folder = given_path(source)
    folders = (folder, folder / "model")
    return next((folder for folder in folders if (folder / CARD).is_file()), None)


def read_card(folder: Path) -> dict[str, Any]:
    """``loquela.json`` of a model folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _no_model(folder) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {folder}: {CARD} cannot be read ({error}). Copy the folder again."
        ) from error
    if not isinstance(card, dict) or card.get("format") != FORMAT or not {"encoder", "sha256"} <= card.keys():
        raise InputError(
            f"model {folder}: {CARD} has a format this version cannot read. Update loquela or the model."
        )
    return card


def check_files(folder: Path, card: dict[str, Any]) -> None:
    """Compare the files of a model folder with its card.

    Raises:
        InputError: one is missing or altered.
    """
    for name, digest in card["sha256"].items():
        if not (folder / name).is_file():
            raise InputError(f"model {folder}: the file {name} is missing. Copy the folder again, whole.")
        if sha256(folder / name) != digest:
            raise InputError(
                f"model {folder}: the file {name} is not the one that was saved. Copy the folder again."
            )
