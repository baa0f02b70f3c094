"""Hours of audio trained on in an hour, against transformers' example scripts with the same model.

`python -m bench.train [--quick] [--minutes M] [--only pretraining|ctc]`
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as `python bench/train.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, Wav2Vec2ForPreTraining
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices, _sample_negative_indices
from transformers.trainer_pt_utils import LengthGroupedSampler

from asr.augment import AugmentConfig
from asr.cache import AudioCache
from asr.ctc import CtcConfig, CtcTask
from asr.encoder import build_encoder
from asr.frames import seconds_to_samples
from asr.manifest import Utterance, normalised_text, read_manifest
from asr.model import CTCModel
from asr.optimizers import bfloat16_is_fast
from asr.pretrain.objectives import ObjectiveConfig, PretrainModel
from asr.pretrain.task import PretrainDataConfig, PretrainTask
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from asr.trainer import Trainer
from asr.trainer_config import TrainerConfig
from bench import common

MINI = Path(__file__).parents[1] / "egs" / "mini"
BATCH = 16
"""Utterances in a batch of the example scripts; ours hold as many seconds of audio on average."""
MODEL: dict[str, Any] = {
    "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 1024,
    "conv_dim": [128] * 7, "num_conv_pos_embeddings": 64, "num_conv_pos_embedding_groups": 8,
    "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True,
    "num_codevectors_per_group": 160, "codevector_dim": 128, "proj_codevector_dim": 128, "num_negatives": 100,
    "mask_time_prob": 0.65, "mask_time_length": 10, "layerdrop": 0.0, "gradient_checkpointing": False,
}  # fmt: skip
PROTOCOL = f"""A wav2vec 2.0 of {MODEL["num_hidden_layers"]} layers of width {MODEL["hidden_size"]} from scratch on
egs/mini's training split (synthetic speech), decoded beforehand for both. transformers: its classes and helpers put
together as in its examples run_wav2vec2_pretraining_no_trainer.py (shuffled batches of {BATCH}, padded to the longest,
masks and negatives drawn by its own functions in the collator) and run_speech_recognition_ctc.py (batches of {BATCH}
grouped by length, convolutions frozen), each with AdamW. Ours: recipes.pretrain's and recipes.finetune_ctc's own task
and trainer (batches by seconds, EMA, checkpoint at the end) without evaluation, augmentation off. Both in one process
on the same threads and in the same precision, interleaved. A figure is seconds of real audio, padding not counted, for
a second of wall clock; waste is the share of the samples fed that are padding. Where there is a GPU: our tasks with the
geometry of XLS-R 300M in bfloat16, every weight learning, after some updates to warm up; utilisation is what torch
counts of floating-point operations forward and backward, over what a product of matrices of 8192 by 8192 reaches."""
GPU_BATCHES_S = (320.0,)
WARM_UP = 5
GPU_UPDATES = 25


class Corpus:
    """The utterances, their waveforms, and who has used what of them."""

    def __init__(self, seconds: float) -> None:
        self.rows: list[Utterance] = []
        for row in read_manifest(MINI / "data" / "manifest.tsv", split="train"):
            if sum(each.duration_s for each in self.rows) >= seconds:
                break
            self.rows.append(row)
        self.cache = AudioCache(4e9)
        self.waveforms = {row.id: self.cache.load(row) for row in self.rows}
        self.seconds = sum(row.duration_s for row in self.rows)
        self.tokenizer = character_tokenizer(
            [normalised_text(row, TextPolicy()) for row in self.rows], TextPolicy()
        )
        self.batch_s = BATCH * self.seconds / len(self.rows)


class Quiet:
    """No evaluation and no model folder: only the loop is timed."""

    updates: list[tuple[float, float]]
    """When each ended, and its seconds of audio."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"score": 0.0}

    def watches(self) -> list[Any]:
        return []

    def seen(self, items: Sequence[Any]) -> float:
        audio_s: float = super().seen(items)  # type: ignore[misc]
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.updates.append((time.monotonic(), audio_s))
        return audio_s

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        return None


class QuietPretrain(Quiet, PretrainTask):
    """Ours, pretraining."""


class QuietCtc(Quiet, CtcTask):
    """Ours, CTC."""


def run_ours(corpus: Corpus, task: Any, precision: str, updates: int = 0) -> None:
    """So many updates, or one pass over the corpus."""
    task.cache = corpus.cache  # decoded beforehand
    task.updates = []
    updates = updates or len(task.plan(0))
    config = TrainerConfig(
        updates=updates,
        lr=1e-4,
        evaluate_every=10**9,
        precision=precision,  # type: ignore[arg-type]
    )
    with tempfile.TemporaryDirectory() as folder:
        Trainer(task, config, Path(folder)).run()


def our_pretraining(corpus: Corpus, encoder: Mapping[str, Any], batch_s: float) -> Any:
    """The task, new."""
    config = ObjectiveConfig(
        kind="wav2vec2",
        num_codes=MODEL["num_codevectors_per_group"],
        code_width=MODEL["codevector_dim"],
        project_width=MODEL["proj_codevector_dim"],
        num_negatives=MODEL["num_negatives"],
    )
    model = PretrainModel(build_encoder({"kind": "wav2vec2", "config": dict(encoder)}), config)
    return QuietPretrain(model, corpus.rows, corpus.rows[:2], PretrainDataConfig(batch_s=batch_s), seed=1)


def our_ctc(corpus: Corpus, encoder: Mapping[str, Any], batch_s: float, *, frozen: bool = True) -> Any:
    """The task, new; its convolutions stay as they are where ``frozen``."""
    model = CTCModel(build_encoder({"kind": "wav2vec2", "config": dict(encoder)}), corpus.tokenizer)
    if frozen:
        model.encoder.freeze_features()
    still = AugmentConfig(speeds=(), noise_probability=0, gain_db=0)
    config = CtcConfig(batch_s=batch_s, inter_weight=0, augment=still)
    return QuietCtc(model, corpus.rows, corpus.rows[:2], config, seed=1)


def on_gpu(corpus: Corpus) -> dict[str, dict[str, float]]:
    """Hours of audio an hour and utilisation of a large encoder's training, of each task at each size of batch."""
    found: dict[str, dict[str, float]] = {}
    ceiling = product_rate()
    for name, make in (("pretraining", our_pretraining), ("ctc", functools.partial(our_ctc, frozen=False))):
        for batch_s in GPU_BATCHES_S:
            task = make(corpus, common.XLS_R_300M, batch_s)
            torch.cuda.reset_peak_memory_stats()
            run_ours(corpus, task, "bfloat16", WARM_UP + GPU_UPDATES)
            timed = task.updates[WARM_UP:]
            audio_s = sum(each for _, each in timed)
            speed = audio_s / (timed[-1][0] - task.updates[WARM_UP - 1][0])
            rate = speed * operations_per_second_of_audio(task)
            found[f"{name}, batches of {batch_s:.0f} s"] = {
                "hours_an_hour": round(speed, 1),
                "tflops": round(rate / 1e12, 1),
                "utilisation": round(rate / ceiling, 3),
                "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
                "padding_waste": round(waste(fed(corpus, task)), 4),
            }
    print(f"\n{torch.cuda.get_device_name()}, {ceiling / 1e12:.0f} TFLOP/s in a product of matrices")
    common.table(["", *next(iter(found.values()))], [[name, *each.values()] for name, each in found.items()])
    return found


def product_rate(size: int = 8192) -> float:
    """Floating-point operations a second of a large product in bfloat16."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / common.gpu_median(lambda: a @ b)


def operations_per_second_of_audio(task: Any, batches: int = 4) -> float:
    """Floating-point operations of the forward and backward passes."""
    operations, audio_s = 0, 0.0
    for item in list(task.plan(0))[:batches]:
        with FlopCounterMode(display=False) as counter, torch.autocast("cuda", torch.bfloat16):
            task.step(task.model, task.load(0, item), 0.0).loss.backward()
        operations += counter.get_total_flops()
        audio_s += task.seen([item])
    return operations / audio_s


def encoder_settings() -> dict[str, Any]:
    """What an encoder knows of `MODEL`."""
    return {name: value for name, value in MODEL.items() if name != "gradient_checkpointing"}


def their_batches(corpus: Corpus, grouped: bool) -> Iterator[list[Utterance]]:
    """Batches as the example scripts make them."""
    torch.manual_seed(1)
    sampler = None
    if grouped:
        lengths = [len(corpus.waveforms[row.id]) for row in corpus.rows]
        sampler = LengthGroupedSampler(BATCH, lengths=lengths)
    return iter(
        DataLoader(
            corpus.rows,  # type: ignore[arg-type]
            batch_size=BATCH,
            shuffle=sampler is None,
            sampler=sampler,
            collate_fn=list,
        )
    )


def their_pretraining(corpus: Corpus, precision: torch.dtype) -> None:
    """One pass of run_wav2vec2_pretraining_no_trainer.py's loop."""
    config = Wav2Vec2Config(**MODEL)
    model: Any = Wav2Vec2ForPreTraining(config).train()
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for rows in their_batches(corpus, grouped=False):
        features = extractor(
            [corpus.waveforms[row.id] for row in rows],
            sampling_rate=16_000,
            padding=True,
            return_tensors="pt",
        )
        length = int(model._get_feat_extract_output_lengths(features["input_values"].shape[-1]))
        valid = model._get_feature_vector_attention_mask(length, features["attention_mask"])
        shape = (len(rows), length)
        masked = _compute_mask_indices(
            shape, config.mask_time_prob, config.mask_time_length, attention_mask=valid
        )
        negatives = _sample_negative_indices(shape, config.num_negatives, mask_time_indices=masked)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            out = model(
                **features,
                mask_time_indices=torch.from_numpy(masked),
                sampled_negative_indices=torch.from_numpy(negatives),
            )
        (out.loss / int(masked.sum())).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()


def their_ctc(corpus: Corpus, precision: torch.dtype) -> None:
    """One pass of run_speech_recognition_ctc.py's loop."""
    blank = corpus.tokenizer.blank
    config = Wav2Vec2Config(
        **{**MODEL, "mask_time_prob": 0.05},
        vocab_size=len(corpus.tokenizer),
        pad_token_id=blank,
        ctc_loss_reduction="mean",
        ctc_zero_infinity=True,
    )
    model: Any = Wav2Vec2ForCTC(config).train()
    model.freeze_feature_encoder()
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    for rows in their_batches(corpus, grouped=True):
        features = extractor(
            [corpus.waveforms[row.id] for row in rows],
            sampling_rate=16_000,
            padding=True,
            return_tensors="pt",
        )
        encoded = [torch.tensor(corpus.tokenizer.encode(row.text)) for row in rows]
        labels = nn.utils.rnn.pad_sequence(encoded, batch_first=True, padding_value=-100)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            loss = model(**features, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()


def waste(batches: Sequence[Sequence[int]]) -> float:
    """Share of the padded samples that are padding."""
    fed = sum(max(batch) * len(batch) for batch in batches)
    return 1 - sum(map(sum, batches)) / fed


def fed(corpus: Corpus, task: Any) -> list[list[int]]:
    """Samples of each row of each batch of ours."""
    samples = [seconds_to_samples(row.duration_s) for row in corpus.rows]
    return [
        [sum(samples[index] for index in ([row] if isinstance(row, int) else row)) for _, row in batch]
        for batch in task.plan(0)
    ]


def paddings(corpus: Corpus) -> dict[str, dict[str, float]]:
    """Waste of each way of making batches."""

    def length(row: Utterance) -> int:
        return seconds_to_samples(row.duration_s)

    ours = {
        name: fed(corpus, make(corpus, encoder_settings(), corpus.batch_s))
        for name, make in (("pretraining", our_pretraining), ("ctc", our_ctc))
    }
    return {
        task: {
            "loquela": round(waste(ours[task]), 4),
            "transformers": round(
                waste([[length(row) for row in batch] for batch in their_batches(corpus, grouped)]), 4
            ),
        }
        for task, grouped in (("pretraining", False), ("ctc", True))
    }


def main() -> None:
    """Measure, print, and end with the figures."""
    options = common.parser("Speed of training against transformers' example scripts.")
    options.add_argument("--minutes", type=float, default=10.0, help="audio in a pass (default: 10)")
    options.add_argument("--gpu", action="store_true", help="the GPU's figures alone")
    options.add_argument(
        "--only", choices=["pretraining", "ctc"], help="one of the two on the CPU (default: both)"
    )
    options.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    args = options.parse_args()
    if args.gpu and not torch.cuda.is_available():
        options.error("--gpu: torch finds no GPU here.")
    machine = common.start("training", PROTOCOL, "transformers")
    minutes, rounds = (1.0, 1) if args.quick else (args.minutes, args.rounds)
    corpus = Corpus(60 * minutes)
    gpu = on_gpu(corpus) if torch.cuda.is_available() else None
    if args.gpu:
        common.finish({"gpu": gpu, "audio_s": round(corpus.seconds, 1), "machine": machine})
        return

    def small(make: Callable[..., Any]) -> Any:
        return make(corpus, encoder_settings(), corpus.batch_s)

    precisions = {"float32": torch.float32}
    if bfloat16_is_fast(torch.device("cpu")):
        precisions["bfloat16"] = torch.bfloat16
    speed: dict[str, dict[str, float]] = {}
    ratios: dict[str, dict[str, float]] = {}
    for name, precision in precisions.items():
        jobs: dict[str, dict[str, Callable[[], None]]] = {
            "pretraining": {
                "loquela": lambda name=name: run_ours(corpus, small(our_pretraining), name),  # type: ignore[misc]
                "transformers": lambda precision=precision: their_pretraining(corpus, precision),  # type: ignore[misc]
            },
            "ctc": {
                "loquela": lambda name=name: run_ours(corpus, small(our_ctc), name),  # type: ignore[misc]
                "transformers": lambda precision=precision: their_ctc(corpus, precision),  # type: ignore[misc]
            },
        }
        for job, competitors in jobs.items():
            if args.only not in (None, job):
                continue
            print(f"\n{job}, {name}")
            timings = common.interleave(competitors, repeats=rounds)
            common.timing_table(timings)
            key = f"{job}, {name}"
            speed[key] = {who: round(corpus.seconds / t.wall_median, 2) for who, t in timings.items()}
            ratios[key] = common.ratio(timings["loquela"], timings["transformers"])
    padding = paddings(corpus)
    print()
    common.table(
        ["hours of audio an hour", "loquela", "transformers", "ratio"],
        [[key, each["loquela"], each["transformers"], ratios[key]["wall"]] for key, each in speed.items()],
    )
    common.finish(
        {
            "audio_seconds_per_second": speed,
            "ratio": ratios,
            "padding_waste": padding,
            **({} if gpu is None else {"gpu": gpu}),
            "audio_s": round(corpus.seconds, 1),
            "machine": machine,
        }
    )


if __name__ == "__main__":
    main()
