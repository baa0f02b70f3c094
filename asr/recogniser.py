"""A recogniser to train: made anew, or begun from another."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from asr.card import model_folder, read_card
from asr.config import from_mapping
from asr.encoder import Encoder, build_encoder
from asr.encoder.adapter import learn_adapters_alone
from asr.encoder.lora import LoraSettings, add_adapters
from asr.manifest import Utterance, languages_of, normalised_text
from asr.model import CTCModel, load_model
from asr.text import TOKENIZER, TextPolicy
from asr.tokenizer import Tokenizer, character_tokenizer, code_point, piece_tokenizer
from lm.errors import InputError

OWN = ("encoder", "policy", "tokenizer")
"""Settings of new recognisers that one to begin with brings its own of."""
UNWRITABLE = 0.001
"""Share of the training texts' characters that a recogniser to begin with may have no label for."""
FOREIGN = 0.5
"""Share of dev's characters without a label that rare letters cannot explain: dev is another language or script."""
LISTED = 10
"""Characters without a label that are named; of the others, how many they are."""


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Labels of a model."""

    unit: Literal["character", "piece"] = "character"
    num_pieces: int = 256
    """Labels of a sentencepiece tokenizer, the blank included."""
    min_count: int = 1
    """Characters rarer than this in the training texts get no label."""
    language_labels: bool = False
    """Open every text with a silent label of its language (the manifest's column), so that the model tells
    languages apart that share an alphabet."""


@dataclass(frozen=True, kw_only=True)
class RecogniserConfig:
    """A recogniser to train."""

    recogniser: str = ""
    """Folder of a recogniser to begin with: encoder, output layer, labels and their policy, whatever the settings of
    new ones say. Empty makes them of the rest."""
    policy: TextPolicy = field(default_factory=TextPolicy)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    encoder: dict[str, Any] = field(default_factory=lambda: {"kind": "conformer"})
    """Kind and settings of the encoder: a conformer from scratch, or a checkpoint by name."""
    freeze_features: bool = True
    """Keep a pretrained convolutional feature extractor as it is (wav2vec 2.0 always does). One from scratch learns,
    as do the layers that ``narrowband`` has changed."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """Low-rank adapters instead of the whole encoder, for large ones on small GPUs."""
    adapter_width: int = 0
    """Of MMS's adapters, one after each layer of the encoder, which learn instead of it (MMS: 16); 0 is none. They
    begin anew, but for those of ``encoder.language`` or of a recogniser to begin with."""
    head_dropout: float = 0.1
    head_from: str = ""
    """Folder of a recogniser, usually the one that ``encoder.source`` names, whose output layer to begin with for the
    labels that both have, the blank among them; those that are new begin at random, as all do where this is empty."""
    emissions_per_frame: int = 1
    """Times that the output layer emits for each frame of the encoder; 2 where 25 frames a second are too few
    for fast speech."""

    def __post_init__(self) -> None:
        if not 0 <= self.head_dropout < 1:
            raise InputError(f"head_dropout is {self.head_dropout}. Give a probability below 1.")
        if self.emissions_per_frame < 1:
            raise InputError(f"emissions_per_frame is {self.emissions_per_frame}. Give a number from 1.")
        if self.adapter_width < 0:
            raise InputError(f"adapter_width is {self.adapter_width}. Give a number from 0, which is none.")
        if self.adapter_width and self.lora.rank:
            raise InputError(
                f"adapter_width is {self.adapter_width} and lora.rank {self.lora.rank}. Give one of them: both freeze "
                "the encoder and learn beside it."
            )


def build_tokenizer(
    config: TokenizerConfig,
    policy: TextPolicy,
    train: Sequence[str],
    dev: Sequence[str],
    *,
    languages: Iterable[str] = (),
) -> Tokenizer:
    """Labels of the training texts; what has none is told on stderr.

    Args:
        policy: what normalised the texts.
        languages: of the training texts, which ``language_labels`` are for.
    Raises:
        InputError: more than half of dev's characters have none.
    """
    if config.unit == "piece":
        tokenizer = piece_tokenizer(train, policy, num_pieces=config.num_pieces)
        if len(tokenizer) < config.num_pieces:
            print(f"the texts give {len(tokenizer)} pieces, not {config.num_pieces}", file=sys.stderr)
    else:
        tokenizer = character_tokenizer(train, policy, min_count=config.min_count)
    unwritable(tokenizer, "training", train)
    check_dev(tokenizer, dev)
    return tokenizer.with_languages(languages) if config.language_labels else tokenizer


def unwritable(tokenizer: Tokenizer, split: str, texts: Sequence[str]) -> float:
    """Tell on stderr what of some normalised texts no label can write; returns its share of their characters."""
    unknown = tokenizer.unknown(texts)
    share = unknown.total() / max(1, sum(map(len, texts)))
    if unknown:
        named = ", ".join(f"{count} x {code_point(char)}" for char, count in unknown.most_common(LISTED))
        rest = f", and {len(unknown) - LISTED} more" if len(unknown) > LISTED else ""
        print(
            f"{split} texts: no label writes {unknown.total()} characters ({share:.2%}): {named}{rest}",
            file=sys.stderr,
        )
    return share


def check_dev(tokenizer: Tokenizer, dev: Sequence[str]) -> None:
    """Tell on stderr what of dev no label can write.

    Raises:
        InputError: it is more than half, so that errors on dev tell no good model from a bad one.
    """
    if (share := unwritable(tokenizer, "dev", dev)) > FOREIGN:
        raise InputError(
            f"no label writes {share:.0%} of the dev texts' characters, listed above. Check that they are of the "
            "language and script that the labels are for, and that min_count is not too high."
        )


def build_recogniser(
    config: RecogniserConfig, train: Sequence[Utterance], dev: Sequence[Utterance]
) -> CTCModel:
    """The recogniser to begin with; or encoder and output layer, with labels for the texts of the training rows.

    Raises:
        InputError: the policy leaves nothing of the dev texts, or more than half of their characters have no label; or
            the recogniser has no label for more than 0.1 % of the training texts' characters, or for one of their
            languages, or emits another number of times for each frame than the configuration says.
    """
    policy = with_own(config).policy
    texts = [[normalised_text(utterance, policy) for utterance in rows] for rows in (train, dev)]
    if dev and not any(texts[1]):
        raise InputError(
            f"the policy leaves nothing of any of the {len(dev)} dev texts, the first of which is {dev[0].text!r}. "
            "Look at the manifest's text column and the policy."
        )
    if config.recogniser and config.head_from:
        raise InputError(
            f"head_from is {config.head_from} and recogniser {config.recogniser}, which brings its own output layer. "
            f"Leave one out; a recogniser of other labels begins with {_with_new_labels(config.head_from)}."
        )
    if config.recogniser:
        _compare(config, with_own(config))
        model = load_model(model_folder(config.recogniser)).train()
        model.dropout.p = config.head_dropout
        _check_languages(config, model.tokenizer, train)
        if (share := unwritable(model.tokenizer, "training", texts[0])) > UNWRITABLE:
            raise InputError(
                f"recogniser {config.recogniser} has no label for {share:.1%} of the training texts' characters, "
                "listed above. Write them otherwise in the manifest, or let it learn new labels: "
                f"{_with_new_labels(config.recogniser)} in place of recogniser."
            )
        check_dev(model.tokenizer, texts[1])
        return _prepared(model, config)
    languages = (row.language for row in train)
    tokenizer = build_tokenizer(config.tokenizer, policy, *texts, languages=languages)
    return make_recogniser(config, tokenizer)


def with_own(config: RecogniserConfig) -> RecogniserConfig:
    """A configuration with what the recogniser to begin with says of itself, where there is one."""
    if not config.recogniser:
        return config
    folder = model_folder(config.recogniser)
    card, tokenizer = read_card(folder), Tokenizer.load(folder / TOKENIZER)
    pieces = {"unit": "piece", "num_pieces": len(tokenizer)} if tokenizer.sentencepiece else {}
    return replace(
        config,
        encoder=card["encoder"],
        policy=tokenizer.policy,
        tokenizer=from_mapping(TokenizerConfig, {**pieces, "language_labels": bool(tokenizer.languages)}),
        emissions_per_frame=card.get("emissions_per_frame", 1),
    )


def _compare(config: RecogniserConfig, own: RecogniserConfig) -> None:
    """Tell on stderr which settings a recogniser's own replace.

    Raises:
        InputError: it emits another number of times for each frame.
    """
    usual = RecogniserConfig()
    if config.emissions_per_frame not in (usual.emissions_per_frame, own.emissions_per_frame):
        raise InputError(
            f"emissions_per_frame is {config.emissions_per_frame} and recogniser {config.recogniser} emits "
            f"{own.emissions_per_frame} times for each frame. Leave emissions_per_frame out, or keep its encoder "
            f"alone: {_encoder_of(config.recogniser)} in place of recogniser."
        )
    replaced = [
        name
        for name in OWN
        if getattr(config, name) != getattr(usual, name)
        # A configuration names some of an encoder's settings.
        and (name != "encoder" or not config.encoder.items() <= own.encoder.items())
        and getattr(config, name) != getattr(own, name)
    ]
    if replaced:
        print(
            f"recogniser {config.recogniser} brings its own {', '.join(replaced)}; the configuration's have no effect",
            file=sys.stderr,
        )


def _check_languages(config: RecogniserConfig, tokenizer: Tokenizer, train: Sequence[Utterance]) -> None:
    """Refuse training texts of a language that a model of language labels has none for."""
    if not (tokenizer.languages or config.tokenizer.language_labels):
        return
    if new := [each for each in languages_of(train) if each not in tokenizer.languages]:
        raise InputError(
            f"recogniser {config.recogniser} has no label for the language {', '.join(new)}; it has "
            f"{', '.join(tokenizer.languages) or 'none at all'}. Train on its languages, or let it learn new labels: "
            f"{_with_new_labels(config.recogniser)} tokenizer.language_labels=true in place of recogniser."
        )


def _with_new_labels(source: str) -> str:
    """Settings that keep of a recogniser the encoder and what it knows of the labels that it shares."""
    return f"{_encoder_of(source)} head_from={source}"


def _encoder_of(source: str | Path) -> str:
    """Setting that keeps the encoder of a recogniser, quoted for a shell."""
    return f"'encoder={{kind: saved, source: {source}}}'"


def make_recogniser(config: RecogniserConfig, tokenizer: Tokenizer) -> CTCModel:
    """Encoder and output layer for these labels."""
    model = CTCModel(
        build_encoder(config.encoder),
        tokenizer,
        dropout=config.head_dropout,
        per_frame=config.emissions_per_frame,
    )
    if config.head_from:
        copy_known_labels(model, config.head_from)
    return _prepared(model, config)


def copy_known_labels(model: CTCModel, source: str | Path) -> None:
    """Begin with what another recogniser knows of the labels that both have; said on stderr.

    Raises:
        InputError: its output layer reads another width, emits another number of times for each frame, or writes
            none of the letters.
    """
    other = load_model(model_folder(source))
    sizes = [(each.head.in_features, each.per_frame) for each in (other, model)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"head_from {source}: its output layer reads width {sizes[0][0]} and emits {sizes[0][1]} times for each "
            f"frame; this model has {sizes[1][0]} and {sizes[1][1]}. Take its encoder, too "
            f"({_encoder_of(source)}), and its emissions_per_frame."
        )
    own, theirs = _places(model.tokenizer), _places(other.tokenizer)
    both = [label for label in own if label in theirs]
    if not any(text.strip() for kind, text in both if kind == "writes"):
        raise InputError(
            f"head_from {source}: it writes none of this model's letters. Leave it out, or write both languages in one "
            "script (policy.romanise)."
        )
    to, of = [own[label] for label in both], [theirs[label] for label in both]
    with torch.no_grad():
        for new, known in ((model.head.weight, other.head.weight), (model.head.bias, other.head.bias)):
            # (K C, ...) -> (K, C, ...), of which rows are labels.
            rows, known_rows = (each.view(model.per_frame, -1, *each.shape[1:]) for each in (new, known))
            rows[:, to] = known_rows[:, of]
    print(
        f"output layer: {len(to)} of {len(model.tokenizer)} labels begin as {source} knows them",
        file=sys.stderr,
    )


def _places(tokenizer: Tokenizer) -> dict[tuple[str, str], int]:
    """Where each label stands: the blank, those that write something, by that, and those of languages."""
    written = {("writes", surface): place for place, surface in enumerate(tokenizer.surfaces) if surface}
    opening = {("opens", language): place for language, place in tokenizer.languages.items()}
    return {("blank", ""): tokenizer.blank, **written, **opening}


def _prepared(model: CTCModel, config: RecogniserConfig) -> CTCModel:
    """With what shall not learn frozen."""
    if config.freeze_features and (config.recogniser or has_weights(config.encoder)):
        freeze_features(model.encoder)
    beside = "lora.rank" if config.lora.rank else "adapter_width" if config.adapter_width else ""
    if beside and not (config.recogniser or has_weights(config.encoder)):
        print(
            f"{beside}: this encoder is new, and all but its adapters and the output layer stays random. Set "
            f"{beside}=0, or give encoder.kind pretrained or saved.",
            file=sys.stderr,
        )
    if config.lora.rank:
        add_adapters(model.encoder, config.lora)
    elif config.adapter_width:
        published = not config.recogniser and config.encoder["kind"] == "pretrained"
        anew = published and not config.encoder.get("language")
        learn_adapters_alone(model.encoder, config.adapter_width, anew=anew)
    return model


def has_weights(encoder: Mapping[str, Any]) -> bool:
    """Whether an encoder of these settings comes with weights that were learned."""
    return encoder.get("kind") in ("pretrained", "saved")


def freeze_features(encoder: Encoder) -> None:
    """Stop training the convolutional feature extractor, and say on stderr what of it."""
    encoder.freeze_features()
    frozen = sum(parameter.numel() for parameter in encoder.parameters() if not parameter.requires_grad)
    if frozen:
        print(
            f"frozen (freeze_features): {frozen / 1e6:.2f} M parameters of the convolutional feature extractor",
            file=sys.stderr,
        )
