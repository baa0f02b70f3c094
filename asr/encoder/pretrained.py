"""Making encoders of transformers' families: of published weights, or from scratch of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from asr.encoder.assets import asset_files
from asr.encoder.fairseq import FairseqFile, load_fairseq
from asr.encoder.hub import ModelFiles, read_tensors
from asr.encoder.transformers_encoder import (
    FAMILIES,
    PREPROCESSORS,
    TransformersEncoder,
    check_kind,
    check_names,
    known_fields,
)
from asr.frames import SAMPLE_RATE
from lm.errors import InputError

SWITCHES = ("gradient_checkpointing", "narrowband")
"""Settings of `TransformersEncoder` that are no fields of transformers' configuration."""


def build_transformers_encoder(config: Mapping[str, Any]) -> TransformersEncoder:
    """Make an encoder of its configuration.

    Args:
        config: either ``{"kind": "pretrained", "source": ..., "language": ..., "config": {...}}``,
            where ``config``, and ``preprocessor``, hold what to change; or from scratch ``{"kind": "wav2vec2",
            "config": {...}, "preprocessor": {...}}`` with a kind of `FAMILIES`. Both take
            ``gradient_checkpointing`` and ``narrowband`` (see `TransformersEncoder`).
    Raises:
        InputError: an unknown kind or setting, or a model that cannot be had.
    """
    settings = dict(config)
    kind = settings.pop("kind", "")
    if kind != "pretrained":
        check_kind(kind)
    known = {"config", "preprocessor", *SWITCHES} | (
        {"source", "language"} if kind == "pretrained" else set()
    )
    try:
        check_names(f"encoder {kind}", settings, known)
    except InputError as error:
        raise InputError(
            f"{error} Settings of another kind stay from the configuration: give the whole group, "
            f"'encoder={{kind: {kind}, ...}}'."
        ) from error
    switches = {name: bool(settings.pop(name, False)) for name in SWITCHES}
    options = settings.pop("config", None)
    if kind != "pretrained":
        return TransformersEncoder(kind, options, preprocessor=settings.get("preprocessor"), **switches)
    if not settings.get("source"):
        raise InputError(
            "encoder pretrained: `source` is missing. Give a hub name, a folder, or a fairseq .pt file."
        )
    return load_pretrained(
        settings["source"],
        language=settings.get("language", ""),
        options=options,
        preprocessor=settings.get("preprocessor"),
        **switches,
    )


Opened = ModelFiles | FairseqFile
"""The files of a published model."""


def open_published(source: str | Path | Opened) -> Opened:
    """The files of a published model by hub name, folder, ``.pt`` or asset name; what is open is given back.

    Raises:
        InputError: there is no such folder or asset, or the ``.pt`` cannot be read.
    """
    if isinstance(source, Opened):
        return source
    if assets := asset_files(source):
        return FairseqFile(*assets)
    return FairseqFile(source) if Path(source).suffix == ".pt" else ModelFiles(source)


def load_pretrained(
    source: str | Path | Opened,
    *,
    language: str = "",
    options: Mapping[str, Any] | None = None,
    preprocessor: Mapping[str, Any] | None = None,
    **switches: bool,
) -> TransformersEncoder:
    """Encoder of a published model, pre-trained or fine-tuned; a head is left behind.

    Args:
        source: hub name, local folder, a ``.pt`` file of fairseq or fairseq2, or an asset of Omnilingual ASR's
            or fairseq2's (``omniASR_W2V_300M``, ``wav2vec2_large_lv60k``).
        language: code of the adapter to load into a model that has one per language (MMS).
        options: fields of the configuration to change: dropout, masking, layerdrop.
        preprocessor: ``do_normalize``, where the published value is wrong.
        switches: ``gradient_checkpointing`` and ``narrowband`` of `TransformersEncoder`.
    Raises:
        InputError: the model cannot be had or read, an option is unknown, or the model seems to be one for
            normalised audio and says that its audio is not.
    """
    files = open_published(source)
    encoder = published_encoder(files, language=language, options=options, **switches)
    if preprocessor:
        check_names(f"preprocessor of {files.source}", preprocessor, set(encoder.preprocessor))
        encoder.preprocessor |= preprocessor
    by_layer = getattr(encoder.model.config, "feat_extract_norm", "") == "layer"
    if by_layer and not encoder.preprocessor["do_normalize"] and "do_normalize" not in (preprocessor or {}):
        # fairseq trains such models with task.normalize=true; without, they hear what they never heard.
        raise InputError(
            f"encoder {files.source}: its convolutions are followed by layer normalisation, as in models of normalised "
            "audio, but its files say do_normalize=false. Say which it is: "
            "encoder.preprocessor={do_normalize: true}, or false."
        )
    return encoder


def published_encoder(
    files: Opened, *, language: str = "", options: Mapping[str, Any] | None = None, **switches: bool
) -> TransformersEncoder:
    """As `load_pretrained`, its files taken at their word on whether audio is normalised.

    Raises:
        InputError: the model cannot be read, or an option is unknown.
    """
    if isinstance(files, FairseqFile):
        return load_fairseq(files, options=options, **switches).encoder
    encoder = encoder_from_files(files, options, **switches)
    encoder.load_weights(checkpoint_weights(files, encoder, language), files.source, given=options or ())
    return encoder


def published_objective(source: str | Path | Opened) -> dict[str, Tensor]:
    """Quantiser and projections that a published wav2vec 2.0 was pre-trained with; empty without.

    Raises:
        InputError: the model cannot be had or read.
    """
    files = open_published(source)
    if isinstance(files, FairseqFile):
        return files.objective()
    names = ("quantizer.", "project_q.", "project_hid.")
    return {name: value for name, value in files.weights().items() if name.startswith(names)}


def encoder_from_files(
    files: ModelFiles, options: Mapping[str, Any] | None = None, **switches: bool
) -> TransformersEncoder:
    """The encoder that a model's ``config.json`` describes, weights still random.

    Raises:
        InputError: the configuration is missing or of another family, or an option is unknown.
    """
    published = files.json("config.json")
    kind = published.get("model_type", "")
    if kind not in FAMILIES:
        raise InputError(
            f"model {files.source!r} is of type {kind!r}; choose one of these types: {', '.join(FAMILIES)}."
        )
    # Files of older releases carry fields that mean nothing any more; only the user's own are checked.
    known = known_fields(kind)
    settings = {key: value for key, value in published.items() if key in known}
    preprocessor = _preprocessor(files)
    rate = preprocessor.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise InputError(
            f"model {files.source!r} is for audio of {rate} samples a second, and encoders here read {SAMPLE_RATE}. "
            "Use another model, or mend sampling_rate in its preprocessor_config.json."
        )
    wanted = {key: preprocessor[key] for key in PREPROCESSORS[kind == "wav2vec2-bert"] if key in preprocessor}
    return TransformersEncoder(
        kind,
        {**settings, **(options or {})},
        preprocessor=wanted,
        **switches,
    )


def _preprocessor(files: ModelFiles) -> dict[str, Any]:
    """What a model's files say of its preprocessing; empty where they say nothing.

    transformers 5 writes it into ``processor_config.json``, which wins over the ``preprocessor_config.json`` of older
    releases.

    Raises:
        InputError: neither file can be had, and there may be one.
    """
    # Not `certain`: a cache that holds the older file is whole without the hub's word on the newer one.
    processor = files.json("processor_config.json", required=False)
    inside = processor.get("feature_extractor") or processor.get("audio_processor")
    if inside:
        return dict(inside)
    beside = files.json("preprocessor_config.json", required=False, certain=True)
    if not beside:
        files.find("processor_config.json", certain=True)
    return beside


def checkpoint_weights(files: ModelFiles, encoder: TransformersEncoder, language: str) -> dict[str, Tensor]:
    """A checkpoint's tensors, those of the adapter and head of ``language`` in place.

    Raises:
        InputError: the model has no adapters, or none for ``language``.
    """
    state = files.weights()
    if not language:
        return state
    if getattr(encoder.model.config, "adapter_attn_dim", None) is None:
        raise InputError(
            f"model {files.source!r} has no language adapters; leave out the language {language!r}."
        )
    path = files.find(f"adapter.{language}.safetensors", f"adapter.{language}.bin", certain=True)
    if path is None:
        known = (
            sorted(file.stem.removeprefix("adapter.") for file in files.folder.glob("adapter.*"))
            if files.folder
            else []
        )
        listed = f"; it has {', '.join(known[:20])}" if known else ""
        raise InputError(
            f"model {files.source!r} has no adapter for language {language!r}{listed}. Choose another code."
        )
    return {**state, **read_tensors(path)}
