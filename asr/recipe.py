"""What every training recipe does: a command line, an experiment folder, a resume that says what has changed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml
from torch import nn

from asr.config import Config, from_mapping, load_config, read_yaml, to_mapping
from asr.encoder.conformer import ConformerConfig
from asr.fingerprint import BEGUN, differences, identity
from asr.formats.files import write_whole
from asr.manifest import Utterance, total_hours
from asr.recogniser import OWN, RecogniserConfig, with_own
from asr.task import Task
from asr.tokenizer import Tokenizer
from asr.trainer import Trainer
from asr.trainer_config import TrainerConfig
from lm.errors import InputError

SOURCES = ("recogniser", "head_from", "source", "decoder_from", "source_from")
"""Settings that name a model to begin with."""
BEGINNING = (
    *("recogniser", "head_from", "encoder", "freeze_features", "lora", "adapter_width", "head_dropout"),
    *("fresh_objective", "policy", "target_policy", "decoder_from", "source_from", "hub_decoder"),
)
"""Settings of the recipes that a training cannot change once it has begun."""


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
        if trainer.unfinished:
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
