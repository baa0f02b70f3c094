"""What the training recipes share: the rows to learn from, and a recogniser to begin with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
import yaml
from torch import nn

from asr.card import model_folder, read_card
from asr.config import Config, from_mapping, load_config, read_yaml, to_mapping
from asr.ctc import CtcConfig, trainable
from asr.encoder import Encoder, build_encoder
from asr.encoder.conformer import ConformerConfig
from asr.encoder.lora import LoraSettings, add_adapters
from asr.fingerprint import BEGUN, differences, identity
from asr.formats.files import write_whole
from asr.manifest import Utterance, languages_of, normalised_text, read_manifest, total_hours, with_text
from asr.mixing import warn_of_lost_groups
from asr.model import CTCModel, load_model
from asr.text import TOKENIZER, TextPolicy
from asr.tokenizer import Tokenizer, character_tokenizer, code_point, piece_tokenizer
from asr.trainer import Task, Trainer, TrainerConfig
from lm.errors import InputError

OWN = ("encoder", "policy", "tokenizer")
"""Settings of new recognisers that one to begin with brings its own of."""
SOURCES = ("recogniser", "head_from", "source", "decoder_from", "source_from")
"""Settings that name a model to begin with."""
BEGINNING = (
    *("recogniser", "head_from", "encoder", "freeze_features", "lora", "head_dropout", "fresh_objective"),
    *("policy", "target_policy", "decoder_from", "source_from", "hub_decoder"),
)
"""Settings of the recipes that a training cannot change once it has begun."""
UNWRITABLE = 0.001
"""Share of the training texts' characters that a recogniser to begin with may have no label for."""


@dataclass(frozen=True, kw_only=True)
class SplitsConfig:
    """What is learned from and what is selected on."""

    manifest: Path
    corpus: str = ""
    """Folder that relative audio paths start from; the manifest's own when empty."""
    train_split: str = "train"
    dev_split: str = "dev"

    def rows(self, split: str) -> list[Utterance]:
        """All rows of a split."""
        return read_manifest(self.manifest, split=split, corpus=self.corpus)


@dataclass(frozen=True, kw_only=True)
class CorpusConfig(SplitsConfig):
    """Which rows of a manifest are learned from."""

    languages: tuple[str, ...] = ()
    """Train and select on these alone; empty takes all."""
    max_duration_s: float = 30.0
    """Longer training utterances are left out."""

    def asked(self, rows: Sequence[Utterance]) -> list[Utterance]:
        """Those of the languages that are asked for."""
        return [row for row in rows if not self.languages or row.language in self.languages]


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


def transcribed_rows(config: CorpusConfig) -> tuple[list[Utterance], list[Utterance]]:
    """Training and dev rows that have a text.

    Rows without it, and training rows that are too long, are left out and counted on stderr.

    Raises:
        InputError: there are none of one of the two, or none that is short enough.
    """
    short, asked = training_rows(config)
    train, selected = with_text(short), dev_rows(config)
    dev = with_text(selected)
    if (long := with_text(asked)) and not train:
        raise InputError(
            f"manifest {config.manifest}: all {len(long)} training rows with text are longer than "
            f"max_duration_s={config.max_duration_s:g}. Cut them (`loquela align`, `loquela segment`), or raise it."
        )
    say_left_out(config.train_split, short, train, "without text")
    say_left_out(config.dev_split, selected, dev, "without text")
    if not train or not dev:
        raise InputError(
            f"manifest {config.manifest}: {len(train)} training and {len(dev)} dev rows with text. Both are needed."
        )
    return train, dev


def training_rows(config: CorpusConfig) -> tuple[list[Utterance], list[Utterance]]:
    """Training rows of the languages that the configuration asks for: the short enough, and all of them.

    What is too long is counted on stderr.

    Raises:
        InputError: there is no row at all of one of the languages.
    """
    rows = config.rows(config.train_split)
    known = {row.language for row in rows}
    if missing := [language for language in config.languages if language not in known]:
        raise InputError(
            f"languages names {missing[0]!r}, of which the split {config.train_split!r} of {config.manifest} has no "
            f"row; it has {', '.join(languages_of(rows)) or 'none'}."
        )
    asked = config.asked(rows)
    short = [row for row in asked if row.duration_s <= config.max_duration_s]
    say_left_out(config.train_split, asked, short, f"longer than {config.max_duration_s:g} s")
    return short, asked


def dev_rows(config: CorpusConfig) -> list[Utterance]:
    """Dev rows of the languages that the configuration asks for: others would choose weights for what is not trained.

    Raises:
        InputError: there are rows, and none of these languages.
    """
    rows = config.rows(config.dev_split)
    asked = config.asked(rows)
    if rows and not asked:
        raise InputError(
            f"the split {config.dev_split!r} of {config.manifest} has no row of {', '.join(config.languages)}, to "
            "select on. Give it some of each language, as a few minutes taken from the training split."
        )
    return asked


def say_left_out(split: str, rows: Sequence[Utterance], kept: Sequence[Utterance], why: str) -> None:
    """Count on stderr the rows that were not kept, where there are any."""
    if len(kept) < len(rows):
        print(f"{split}: left out {len(rows) - len(kept)} of {len(rows)} rows {why}", file=sys.stderr)


def build_tokenizer(
    config: TokenizerConfig,
    policy: TextPolicy,
    train: Sequence[str],
    dev: Sequence[str],
    *,
    languages: Iterable[str] = (),
) -> Tokenizer:
    """Labels of the training texts; what dev has and they lack is told on stderr.

    Args:
        policy: what normalised the texts.
        languages: of the training texts, which ``language_labels`` are for.
    """
    if config.unit == "piece":
        tokenizer = piece_tokenizer(train, policy, num_pieces=config.num_pieces)
        if len(tokenizer) < config.num_pieces:
            print(f"the texts give {len(tokenizer)} pieces, not {config.num_pieces}", file=sys.stderr)
    else:
        tokenizer = character_tokenizer(train, policy, min_count=config.min_count)
    unwritable(tokenizer, "dev", dev)
    return tokenizer.with_languages(languages) if config.language_labels else tokenizer


def unwritable(tokenizer: Tokenizer, split: str, texts: Sequence[str]) -> float:
    """Tell on stderr what of some normalised texts no label can write; returns its share of their characters."""
    unknown = tokenizer.unknown(texts)
    for char, count in unknown.most_common():
        print(f"{split} has {count} x {code_point(char)}, which no label writes", file=sys.stderr)
    return unknown.total() / max(1, sum(map(len, texts)))


def build_recogniser(
    config: RecogniserConfig, train: Sequence[Utterance], dev: Sequence[Utterance]
) -> CTCModel:
    """The recogniser to begin with; or encoder and output layer, with labels for the texts of the training rows.

    Raises:
        InputError: the policy leaves nothing of the dev texts; or the recogniser has no label for more than 0.1 % of
            the training texts' characters, or for one of their languages, or emits another number of times for each
            frame than the configuration says.
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
        shares = [
            unwritable(model.tokenizer, *split) for split in zip(("training", "dev"), texts, strict=True)
        ]
        if shares[0] > UNWRITABLE:
            raise InputError(
                f"recogniser {config.recogniser} has no label for {shares[0]:.1%} of the training texts' characters, "
                "listed above. Write them otherwise in the manifest, or let it learn new labels: "
                f"{_with_new_labels(config.recogniser)} in place of recogniser."
            )
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
    if config.lora.rank:
        if not (config.recogniser or has_weights(config.encoder)):
            print(
                "lora.rank: this encoder is new, and all but its adapters and the output layer stays random. Set "
                "lora.rank=0, or give encoder.kind pretrained or saved.",
                file=sys.stderr,
            )
        add_adapters(model.encoder, config.lora)
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


def announce(
    train: Sequence[Utterance], dev: Sequence[Utterance], tokenizer: Tokenizer, model: nn.Module
) -> None:
    """Say on stderr what is about to be trained on what."""
    sizes = [(parameter.numel() / 1e6, parameter.requires_grad) for parameter in model.parameters()]
    print(
        f"{len(train)} training utterances, {total_hours(train):.2f} h; {len(dev)} dev; "
        f"{len(tokenizer)} labels ({''.join(tokenizer.surfaces[:40])}); "
        f"{sum(size for size, _ in sizes):.1f} M parameters, {sum(s for s, learns in sizes if learns):.1f} M learn",
        file=sys.stderr,
    )


def trainable_rows(
    model: CTCModel, given: Sequence[Utterance], config: CtcConfig, manifest: Path
) -> list[Utterance]:
    """The rows that CTC can learn from; the reasons of the others are told on stderr.

    Raises:
        InputError: there are none.
    """
    train, reasons = trainable(model, given, config.augment)
    for reason in reasons:
        print(f"left out {reason}", file=sys.stderr)
    if not train:
        raise InputError(f"manifest {manifest}: no training utterance is left. See the reasons above.")
    warn_of_lost_groups(given, train, config.mix.levels)
    return train


class Experiment(Protocol):
    """Any recipe's configuration."""

    @property
    def exp(self) -> Path: ...

    @property
    def trainer(self) -> TrainerConfig: ...


def train_task(task: Task[Any], config: Experiment, tokenizer: Tokenizer | None = None) -> dict[str, float]:
    """Train in the experiment folder, from its last whole checkpoint; returns the best evaluation.

    Args:
        config: written there, resolved.
        tokenizer: written there, for what needs it beside the model.
    """
    usual = defaults(config)
    trainer = Trainer(task, config.trainer, config.exp, beginning(config), usual)
    # Written only now: an experiment of other settings would have been refused.
    config.exp.mkdir(parents=True, exist_ok=True)
    path = config.exp / "config.yaml"
    written = with_own(config) if isinstance(config, RecogniserConfig) else config
    if trainer.update and trainer.accelerator.is_main_process:
        for line in changed_settings(path, written, usual):
            print(f"going on from update {trainer.update} with other settings: {line}", file=sys.stderr)
    if trainer.accelerator.is_main_process:
        if trainer.update < config.trainer.updates:
            save_config(written, path)
        if tokenizer:
            tokenizer.save(config.exp / "tokenizer.json")
    return trainer.run()


def save_config(config: Any, path: Path) -> None:
    """Write the resolved configuration as YAML, whole or not at all."""
    written = yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True)
    write_whole(path, [written.encode()], overwrite=True)


def beginning(config: Experiment) -> dict[str, Any]:
    """The settings that say what a model was made of; folders of ours by what they hold, wherever they lie."""

    def told(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: told(key, item) for key, item in value.items()}
        return identity(value) if name in SOURCES else value

    settings = to_mapping(config)
    if settings.get("recogniser"):
        settings = {name: value for name, value in settings.items() if name not in OWN}
    return {f"{BEGUN}{name}": told(name, settings[name]) for name in BEGINNING if name in settings}


def defaults(config: Experiment) -> dict[str, Any]:
    """What the settings of a recipe are where nothing is said, for `differences`."""
    usual = to_mapping(from_mapping(type(config), {"manifest": "", "exp": ""}))
    if usual.get("encoder") == {"kind": "conformer"}:
        usual["encoder"] |= to_mapping(ConformerConfig())
    return {**usual, **{f"{BEGUN}{name}": usual[name] for name in BEGINNING if name in usual}}


def changed_settings(path: Path, config: Any, usual: Mapping[str, Any]) -> list[str]:
    """What an experiment's ``config.yaml`` and a configuration say differently, ``name: old -> new``.

    A file that cannot be read is told on stderr: the checkpoints say by themselves what may not change.
    """
    if not path.is_file():
        return []
    try:
        before = read_yaml(path)
    except InputError as error:
        print(f"{error} What has changed since is not known; it is written anew.", file=sys.stderr)
        return []
    found = differences(before, to_mapping(config), usual)
    return [f"{name}: {old!r} -> {new!r}" for name, (old, new) in found.items()]


def run_recipe(
    name: str,
    description: str | None,
    kind: type[Config],
    train: Callable[[Config], dict[str, float]],
    *,
    example: str,
    change: str = "trainer.lr=1e-4",
) -> int:
    """The command line of a training recipe: parse, train, print the best evaluation.

    Args:
        example: a configuration to look at.
        change: a setting that one may want to change.
    """
    parser = argparse.ArgumentParser(prog=f"python -m recipes.{name}", description=description)
    parser.add_argument("config", help=f"YAML file, as {example}")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=f"settings to change, as {change}")
    args = parser.parse_args()
    best = train(load_config(kind, args.config, args.overrides))
    print("best on dev: " + ", ".join(f"{name} {value:.4g}" for name, value in best.items()))
    return 0
