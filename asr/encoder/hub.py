"""The files of a published model: from a local folder, or from the Hugging Face hub and its cache."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, snapshot_download, try_to_load_from_cache
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

    def find(self, *names: str, certain: bool = False) -> Path | None:
        """Path of the first of the files ``names`` that the model has, or None where it has none of them.

        Args:
            certain: with the hub out of reach, take a file that its cache lacks for absent only where the hub once said
                so. Asked for where absence changes the result; not elsewhere, as a cache that another program filled
                is whole without the hub's word on files which that program never asked for.
        Raises:
            InputError: the hub does not know the model, or refuses it; or ``certain``, and there may be such a file.
        """
        if self.folder is not None:
            return next((path for name in names if (path := self.folder / name).is_file()), None)
        unknown = ""
        for name in names:
            try:
                return Path(hf_hub_download(self.source, name))
            except LocalEntryNotFoundError:
                self._reason = "the hub is out of reach and its cache has no copy"
                if try_to_load_from_cache(self.source, name) is not _CACHED_NO_EXIST:
                    unknown = unknown or name
            except EntryNotFoundError:
                self._reason = "it has no such file"
            except Exception as error:  # the hub's, its HTTP client's, the system's: none is ours to name
                raise InputError(f"model {self.source!r}: {_first_line(error)}. {REMEDY}.") from error
        if certain and unknown:
            raise InputError(
                f"model {self.source!r}: cannot get {unknown}: the hub is out of reach and its cache does not say "
                "whether there is one. Bring the network up once, or give the path of a local folder."
            )
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

    def find_folder(self, name: str, sign: str) -> Path | None:
        """Path of the folder ``name`` inside the model, or None where it has none.

        One that cannot be fetched is told of on stderr and done without.

        Args:
            sign: the file that every such folder has on the hub, by whose absence the cache knows that of the folder.
        """
        if self.folder is None:
            try:
                if self.find(f"{name}/{sign}", certain=True) is None:
                    return None
                root = Path(snapshot_download(self.source, allow_patterns=[f"{name}/*"]))
            except Exception as error:  # a language model is a bonus: the recogniser works without
                print(f"{self.source}: going on without {name}: {_first_line(error)}", file=sys.stderr)
                return None
        else:
            root = self.folder
        return root / name if (root / name).is_dir() else None

    def json(self, name: str, *, required: bool = True, certain: bool = False) -> dict[str, Any]:
        """The JSON object in the file ``name``; empty where the file is absent and not required.

        Args:
            certain: see `find`.
        Raises:
            InputError: the file is required and missing, or is no JSON object; or ``certain``, and it may be there.
        """
        path = self.need(name) if required else self.find(name, certain=certain)
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
            state: dict[str, Tensor] = {}
            for path in self.weight_files():
                state.update(read_tensors(path))
            self._weights = state
        return dict(self._weights)

    def weight_files(self) -> list[Path]:
        """The file of the model's weights, or those that they are divided among.

        Raises:
            InputError: there are none, or their index does not name them.
        """
        for stem, ending in (("model", "safetensors"), ("pytorch_model", "bin")):
            # Not `certain`: whichever of these files is at hand holds the same.
            if path := self.find(f"{stem}.{ending}"):
                return [path]
            name = f"{stem}.{ending}.index.json"
            if index := self.json(name, required=False):
                shards = index.get("weight_map")
                if not isinstance(shards, dict) or not all(
                    isinstance(shard, str) for shard in shards.values()
                ):
                    raise InputError(f"model {self.source!r}: {name} has no weight_map. Fetch it again.")
                return [self.need(Path(shard).name) for shard in sorted(set(shards.values()))]
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
