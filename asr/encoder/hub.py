"""The files of a published model: from a local folder, or from the Hugging Face hub and its cache."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lm.errors import InputError

REMEDY = "Give the path of a local folder, or the name of a model on huggingface.co with the network up"


class ModelFiles:
    """A model's files by name, fetched one by one when the model is on the hub.

    ``HF_HUB_OFFLINE=1`` keeps to what the hub's cache already holds.
    """

    def __init__(self, source: str | Path) -> None:
        """
        Args:
            source: a folder, or a hub name such as ``facebook/wav2vec2-base``.
        Raises:
            InputError: ``source`` is written as a path, is a file or begins with a folder that is here, and no such
                folder exists: the hub would be asked for a minute in vain.
        """
        self.source = str(source)
        folder = Path(source).expanduser()
        self.folder = folder if folder.is_dir() else None
        written_as_path = isinstance(source, Path) or self.source.startswith((".", "/", "~"))
        here = folder.exists() or (folder.parent != Path() and folder.parent.is_dir())
        if self.folder is None and (written_as_path or here or self.source.count("/") > 1 or not self.source):
            raise InputError(f"model {self.source!r}: no such folder. {REMEDY}.")
        self._reason = "it has no such file"
        self._weights: dict[str, Tensor] | None = None

    def find(self, name: str) -> Path | None:
        """Path of the file ``name``, or None where the model has none.

        Raises:
            InputError: the hub does not know the model, or refuses it.
        """
        if self.folder is not None:
            path = self.folder / name
            return path if path.is_file() else None
        try:
            return Path(hf_hub_download(self.source, name))
        except LocalEntryNotFoundError:
            self._reason = "the hub is out of reach and its cache has no copy"
        except EntryNotFoundError:
            self._reason = "it has no such file"
        except Exception as error:  # the hub's own, its HTTP client's and the system's: none is ours to name
            raise InputError(f"model {self.source!r}: {_first_line(error)}. {REMEDY}.") from error
        return None

    def need(self, name: str) -> Path:
        """Path of the file ``name``.

        Raises:
            InputError: the model has no such file, or it cannot be fetched.
        """
        path = self.find(name)
        if path is None:
            raise InputError(f"model {self.source!r}: cannot get {name}: {self._reason}. {REMEDY}.")
        return path

    def find_folder(self, name: str) -> Path | None:
        """Path of the folder ``name`` inside the model, or None where it has none."""
        if self.folder is None:
            try:
                root = Path(snapshot_download(self.source, allow_patterns=[f"{name}/*"]))
            except Exception:  # a language model is a bonus: the recogniser works without
                return None
        else:
            root = self.folder
        return root / name if (root / name).is_dir() else None

    def json(self, name: str, *, required: bool = True) -> dict[str, Any]:
        """The JSON object in the file ``name``; empty where the file is absent and not required.

        Raises:
            InputError: the file is required and missing, or is no JSON object.
        """
        path = self.need(name) if required else self.find(name)
        if path is None:
            return {}
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"model {self.source!r}: {name} is not JSON ({error}). Fetch it again."
            ) from error
        if not isinstance(value, dict):
            raise InputError(f"model {self.source!r}: {name} must hold a JSON object. Fetch it again.")
        return value

    def weights(self) -> dict[str, Tensor]:
        """All tensors of the model, by their names in the file, on the CPU; read once.

        Raises:
            InputError: there are no weights, or a file of them cannot be read.
        """
        if self._weights is None:
            self._weights = self._read_weights()
        return dict(self._weights)

    def _read_weights(self) -> dict[str, Tensor]:
        for stem, ending in (("model", "safetensors"), ("pytorch_model", "bin")):
            if path := self.find(f"{stem}.{ending}"):
                return read_tensors(path)
            index = self.json(f"{stem}.{ending}.index.json", required=False)
            if index:
                state: dict[str, Tensor] = {}
                for shard in sorted(set(index["weight_map"].values())):
                    state.update(read_tensors(self.need(Path(shard).name)))
                return state
        raise InputError(
            f"model {self.source!r}: no model.safetensors and no pytorch_model.bin: {self._reason}. {REMEDY}."
        )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file, or of a pickled one read with ``weights_only=True``.

    Raises:
        InputError: the file is damaged, or its pickle holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise InputError(
            f"weights {path}: {_first_line(error)}. Fetch the file again, as safetensors."
        ) from error
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}


def _first_line(error: BaseException) -> str:
    """What an exception says, up to the end of its first line."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
