"""Train a speech translator: ``python -m recipes.train_st CONFIG key=value ...``.

The encoder is one of the toolkit's, or a recogniser's with its output layer (``recogniser``); the decoder is
fresh, a text translator's (``decoder_from``), or that of a published MT model (``hub_decoder.source``), with
adapters. It may also learn from a text translator (``distil``). With target=text it learns to write the transcript:
pre-training with cross-entropy. Leaves in the experiment folder what recipes.finetune_ctc leaves. Run again, it
goes on from the last whole checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from asr.cli import guarded
from asr.ctc import CtcConfig
from asr.manifest import Utterance
from asr.recipe import announce, run_recipe, train_task
from asr.recogniser import RecogniserConfig, build_recogniser, build_tokenizer
from asr.tokenizer import code_point
from asr.trainer_config import TrainerConfig
from asr.training_rows import CorpusConfig, say_left_out
from lm.errors import InputError
from st.decoder import DecoderConfig
from st.distil import DistilConfig, teach
from st.hub.decoder import HubDecoderConfig, HubDecoderSource, begin_with, read_hub_decoder
from st.languages import language_pair, refuse_other_code, refuse_other_languages
from st.model import SpeechTranslator, copy_decoder, load_translator
from st.recipe import Side, TargetConfig, check_written, translated_rows
from st.siamese import look_through_bridge
from st.task import TranslationConfig, TranslationTask


@dataclass(frozen=True, kw_only=True)
class TrainConfig(CorpusConfig, RecogniserConfig, TargetConfig):
    """Everything that a run follows from."""

    exp: Path
    target: Side = "translation"
    decoder_from: str = ""
    """Folder of a text translator whose decoder and labels to begin with."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    hub_decoder: HubDecoderSource = field(default_factory=HubDecoderSource)
    """A published MT model whose decoder to begin with; its pieces are the labels, whatever ``target_tokenizer``
    says."""
    adaptor_layers: int = 1
    """Halvings of the frame rate between encoder and decoder."""
    compress: bool = False
    """Let the decoder see only frames in which the recogniser writes (`st.compress`), about one for each letter."""
    st: TranslationConfig = field(default_factory=TranslationConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    ctc: CtcConfig = field(default_factory=CtcConfig)
    """Batches, mixing and augmentation."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        RecogniserConfig.__post_init__(self)
        TargetConfig.__post_init__(self)


def train(config: TrainConfig) -> dict[str, float]:
    """Train; returns the best evaluation on dev."""
    torch.manual_seed(config.trainer.seed)
    if config.compress and not config.st.source_ctc_weight:
        raise InputError(
            "compress is on: it keeps the frames in which the recogniser writes, which it forgets with "
            "st.source_ctc_weight=0. Give a weight, such as 0.3, or leave out compress."
        )
    rows, dev = translated_rows(config, config.target, need_text=bool(config.distil.teacher))

    # Encoder: with the output layer for transcripts, which goes on learning beside the decoder.
    texts = [row for row in rows if row.text.strip()]
    if not texts and not config.recogniser:
        raise InputError(f"manifest {config.manifest}: no transcripts to make labels of. Give a recogniser.")
    recogniser = build_recogniser(config, texts, [row for row in dev if row.text.strip()])

    # Decoder.
    if config.decoder_from and config.hub_decoder.source:
        raise InputError(
            f"decoder_from is {config.decoder_from} and hub_decoder.source {config.hub_decoder.source}: there is "
            "one decoder. Leave one of them out."
        )
    translations = [row.translation for row in rows], [row.translation for row in dev]
    normalised = [list(map(config.target_policy, part)) for part in translations]
    other = load_translator(config.decoder_from) if config.decoder_from else None
    parts = None
    if config.hub_decoder.source:
        parts = read_hub_decoder(config.hub_decoder, translations[0], config.target_policy)
        for char, count in parts.tokenizer.unknown([*normalised[0], *normalised[1]]).most_common():
            print(f"{count} x {code_point(char)}, which no piece of the decoder holds", file=sys.stderr)
    decoder: DecoderConfig | HubDecoderConfig
    if parts:
        refuse_other_code("hub_decoder.language", config.hub_decoder.language, rows, target=True)
        tokenizer, decoder = parts.tokenizer, parts.config
    elif other:
        refuse_other_languages(f"decoder_from {config.decoder_from}", other, rows, source=False)
        check_written(f"decoder_from {config.decoder_from}", other.tokenizer, rows, dev, translations=True)
        tokenizer, decoder = other.tokenizer, other.decoder.config
    else:
        tokenizer = build_tokenizer(config.target_tokenizer, config.target_policy, *normalised)
        decoder = config.decoder
    model = SpeechTranslator(
        recogniser,
        tokenizer,
        decoder,
        adaptor_layers=config.adaptor_layers,
        compress=config.compress,
        target_ctc=config.st.target_ctc_weight > 0,
    )
    if other:
        copy_decoder(model, other, config.decoder_from)
    if parts:
        begin_with(model.decoder, parts, config.hub_decoder.lora)
    if config.recogniser and (other or parts):
        look_through_bridge(model, other, config.recogniser)
    rows = _short_enough(config, config.train_split, rows, model)
    dev = _short_enough(config, config.dev_split, dev, model)
    teaching = None
    if config.distil.teacher:
        rows, teaching = teach(config.distil, tokenizer, rows, dev, config.exp)
    model.languages = language_pair(rows)
    announce(rows, dev, tokenizer, model)

    task = TranslationTask(model, rows, dev, config.st, config.ctc, config.trainer.seed, teaching)
    return train_task(task, config)


def _short_enough(
    config: TrainConfig, split: str, rows: Sequence[Utterance], model: SpeechTranslator
) -> list[Utterance]:
    """The rows whose translation the decoder has places for."""
    longest = model.decoder.longest
    kept = [row for row in rows if len(model.tokenizer.encode(row.translation)) <= longest]
    why = f"with a translation of more than {longest} labels, for which the decoder has no places"
    if not kept:
        raise InputError(f"manifest {config.manifest}: no row of {split} is left, all are {why}. Cut them.")
    say_left_out(split, rows, kept, why)
    return kept


def main() -> int:
    """Parse, train, print the best evaluation."""
    return run_recipe("train_st", __doc__, TrainConfig, train, example="egs/killkan_es/conf/st.yaml")


if __name__ == "__main__":
    sys.exit(guarded(main))
