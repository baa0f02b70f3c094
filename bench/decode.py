"""How fast emissions are decoded with a word model, against pyctcdecode and flashlight-text.

The search in tensors is a row of its own, with the operations of one of its steps; where there is a GPU, also the
share of the throughput of greedy transcription that is left with it.

`python -m bench.decode [--quick] [--emissions EXP MANIFEST]`
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

if not __package__:  # run as `python bench/decode.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch

from asr.arrays import FloatArray
from asr.batches import in_rows, prefetch
from asr.decode import BeamDecoder, BeamSearchConfig, Decoder, GreedyDecoder, decode_all
from asr.decode.lexicon import Models
from asr.decode.others import FlashlightDecoder, PyctcDecoder
from asr.decode.torch_engine import TorchSearch
from asr.encoder import build_encoder
from asr.frames import seconds_to_samples
from asr.score import CorpusScore, score_corpus
from asr.text import TextPolicy
from bench import common
from lm.build import build_language_model
from lm.errors import InputError
from lm.folder import LanguageModel

BEAM = 100
NEARLY = 0.01
"""By how much the WER of quicker settings may exceed the lowest on dev, relative."""
WIDE = 2_000
"""The beam that search errors are counted against."""
OPEN: dict[str, Any] = {
    "beam_width": WIDE,
    "beam_threshold": 20.0,
    "label_threshold": 12.0,
    "max_labels": 1_000,
}
"""And what else prunes: next to nothing."""
WIDE_FRAMES = 2_000
"""Frames of test that it searches."""
WIDE_S = 300
"""CPU seconds after which it begins with no further utterance: pyctcdecode may take minutes for one."""
THREADS = 2
LETTERS = "abcdefghijklmnopqrstuvwxyzáéíóú"[:30]
TORCH, CLOSED = "loquela torch", "loquela closed"
PROTOCOL = f"""Simulated task: a lexicon of pseudo-words spelled by a random bigram of {len(LETTERS)} letters, a text of
random sentences with a Zipf law and word pairs that attract one another, a word 3-gram of it built by
`loquela lm build`; emissions of 500 frames for sentences of the same source, one or two frames a letter,
blanks between, noise and confusions that leave greedy decoding about half of the words. One thread, one
process, beam {BEAM} and the same model file for all; each system's weights (LM weight, word bonus, what unknown
words cost, and thresholds among its usual ones) are chosen on the same dev utterances, the quickest of those whose WER
is at most {NEARLY:.0%} above the lowest, relative; decoding of test is timed, building is not. flashlight-text writes
words of the model alone, "{CLOSED}" does so too, the others write any word. Search errors: utterances, of the first in
test with {WIDE_FRAMES} frames together and as far as {WIDE_S} CPU seconds go, for which a beam of {WIDE} with nearly
all labels finds another text with a better score under the system's own weights. WER minus loquela's by paired
bootstrap. "loquela torch" is the engine torch with loquela's settings, all test utterances in one batch, on the CPU."""
GPU_PROTOCOL = """Test emissions, repeated to {utterances} utterances, and as many waveforms of noise of 10 s. A wav2vec
2.0 of 24 layers of width 1,024 with random weights encodes the waveforms in bfloat16, 32 at once; the emissions are
decoded beside it, 32 at once, greedily or by the engine cpu in {threads} threads, or after it, all at once, by the
engine torch. Share: wall clock with greedy decoding by that with the search."""


@dataclass(frozen=True)
class Task:
    """Emissions to decode, and what was said."""

    name: str
    surfaces: tuple[str, ...]
    blank: int
    model: LanguageModel
    dev: list[FloatArray]
    dev_texts: list[str]
    test: list[FloatArray]
    test_texts: list[str]
    seconds: float
    """Of the test audio."""


def simulated(folder: Path, *, words: int, tokens: int, utterances: int) -> Task:
    """The task of the protocol."""
    draw = np.random.default_rng(1)
    letters = np.array(list(LETTERS))
    follow = draw.dirichlet(np.full(len(letters), 0.3), size=len(letters))
    first = draw.dirichlet(np.full(len(letters), 1.0))
    lexicon: dict[str, None] = {}
    while len(lexicon) < words:
        at = draw.choice(len(letters), p=first)
        spelled = [at]
        for _ in range(draw.integers(1, 11)):
            at = draw.choice(len(letters), p=follow[at])
            spelled.append(at)
        lexicon["".join(letters[spelled])] = None
    names = np.array(list(lexicon))
    weights = 1 / np.arange(1, words + 1) ** 1.0
    weights /= weights.sum()
    cumulative = np.cumsum(weights)
    # Half of the time a word draws one of its eight companions: that is what a language model can know.
    companions = np.minimum(np.searchsorted(cumulative, draw.random((words, 8))), words - 1)

    def sentence(length: int) -> list[int]:
        said = [int(np.searchsorted(cumulative, draw.random()))]
        while len(said) < length:
            if draw.random() < 0.6:
                said.append(int(companions[said[-1], draw.integers(8)]))
            else:
                said.append(min(words - 1, int(np.searchsorted(cumulative, draw.random()))))
        return said

    lines, count = [], 0
    while count < tokens:
        said = sentence(int(draw.integers(5, 20)))
        lines.append(" ".join(names[said]))
        count += len(said)
    build_language_model(lines, folder / "lm", word_order=3, character_order=0)
    surfaces = ("", " ", *LETTERS)
    labels = {surface: label for label, surface in enumerate(surfaces) if surface}
    emissions, texts = [], []
    for _ in range(utterances):
        text = " ".join(names[sentence(60)])
        frames: list[int] = []
        kept = ""
        for char in text:
            step = [labels[char]] * int(draw.integers(1, 3)) + [0] * int(draw.integers(1, 3))
            if len(frames) + len(step) > 500:
                break
            frames += step
            kept += char
        frames += [0] * (500 - len(frames))
        logits = draw.normal(0, 1.0, (500, len(surfaces)))
        logits[np.arange(500), frames] += draw.choice([6.0, 2.2], 500, p=[0.94, 0.06])
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        emissions.append(logits.astype(np.float32))
        texts.append(" ".join(kept.split()))
    half = utterances // 2
    return Task(
        name="simulated",
        surfaces=surfaces,
        blank=0,
        model=LanguageModel.load(folder / "lm"),
        dev=emissions[:half],
        dev_texts=texts[:half],
        test=emissions[half:],
        test_texts=texts[half:],
        seconds=10.0 * (utterances - half),
    )


def corpus(exp: Path, manifest: Path) -> Task:
    """Emissions of a trained model on a real corpus's dev and test."""
    from asr.emissions import utterance_emissions
    from asr.manifest import read_manifest, total_hours
    from asr.opened import open_model

    model = open_model(str(exp), "", "cpu").model
    found: dict[str, tuple[list[FloatArray], list[str]]] = {}
    for split in ("dev", "test"):
        rows = read_manifest(manifest, split=split)
        pairs = [(e, r.text) for r, e in utterance_emissions(model, rows) if isinstance(e, np.ndarray)]
        found[split] = ([e for e, _ in pairs], [model.tokenizer.policy(text) for _, text in pairs])
        seconds = 3600 * total_hours(rows)
    lm = LanguageModel.load(exp / "lm" if (exp / "lm").is_dir() else exp / "packed" / "lm")
    surfaces, blank = model.tokenizer.surfaces, model.tokenizer.blank
    return Task(manifest.stem, surfaces, blank, lm.only("word"), *found["dev"], *found["test"], seconds)


Make = Callable[[Task, BeamSearchConfig], Decoder]


def loquela(task: Task, config: BeamSearchConfig) -> Decoder:
    return in_threads(task, config, 1)


def in_threads(task: Task, config: BeamSearchConfig, threads: int) -> Decoder:
    return BeamDecoder(task.surfaces, task.blank, task.model, config, threads=threads)


def pyctcdecode(task: Task, config: BeamSearchConfig) -> Decoder:
    assert task.model.word is not None
    return PyctcDecoder(task.surfaces, task.blank, task.model.word.path, task.model.vocabulary, config)


def flashlight(task: Task, config: BeamSearchConfig) -> Decoder:
    assert task.model.word is not None
    return FlashlightDecoder(task.surfaces, task.blank, task.model.word.path, task.model.vocabulary, config)


THRESHOLDS = [
    {"label_threshold": label, "beam_threshold": beam}
    for label, beam in itertools.product((5.0, 4.0, 3.0, 2.0), (10.0, 7.0, 5.0, 4.0, 3.0))
]
SYSTEMS: dict[str, tuple[Make, list[dict[str, Any]]]] = {
    "loquela": (
        loquela,
        [
            {"unknown_offset": offset, "spelling_weight": spelling, **thresholds}
            for spelling, offset in itertools.product((1.0, 0.5), (-6.0, -3.0, 0.0))
            for thresholds in THRESHOLDS
        ],
    ),
    CLOSED: (loquela, [{"open_vocabulary": False, **thresholds} for thresholds in THRESHOLDS]),
    "pyctcdecode": (
        pyctcdecode,
        [
            {"unknown_offset": offset, **thresholds}
            for offset in (-23.0, -12.0, -7.0)  # natural log, as everywhere here: 10, 5 and 3 in its own
            for thresholds in THRESHOLDS
        ],
    ),
    "flashlight": (
        flashlight,
        [
            {"beam_threshold": beam, "max_labels": labels}
            for beam, labels in itertools.product((25.0, 10.0, 7.0, 5.0, 4.0, 3.0), (40, 10, 5))
        ],
    ),
}
WEIGHTS = [
    {"lm_weight": weight, "word_bonus": bonus} for weight in (0.5, 1.0, 1.5) for bonus in (0.0, 1.5, 3.0)
]


def texts_of(decoder: Decoder, emissions: Sequence[FloatArray]) -> list[str]:
    return [found[0].text for found in decode_all(decoder, emissions)]


def scored(texts: Sequence[str], said: Sequence[str]) -> CorpusScore:
    return score_corpus(
        {str(n): text for n, text in enumerate(said)},
        {str(n): text for n, text in enumerate(texts)},
        TextPolicy(case="keep", punctuation="keep"),
    )


def tuned(task: Task, make: Make, choices: Sequence[dict[str, Any]]) -> BeamSearchConfig:
    """The settings with the lowest WER on dev, or the quickest of those nearly as good: weights, the rest, weights."""
    found: list[tuple[float, float, BeamSearchConfig]] = []

    def attempt(config: BeamSearchConfig) -> None:
        decoder = make(task, config)
        began = time.process_time()
        rate = scored(texts_of(decoder, task.dev), task.dev_texts).counts("wer").rate
        found.append((rate, time.process_time() - began, config))

    best = BeamSearchConfig(beam_width=BEAM, char_weight=0.0, **choices[0])
    for changes in (WEIGHTS, choices[1:], WEIGHTS):
        start = best
        for change in changes:
            attempt(replace(start, **change))
        worst = (1 + NEARLY) * min(rate for rate, _, _ in found)
        best = min((each for each in found if each[0] <= worst), key=lambda each: each[1])[2]
    return best


def search_errors(wide: Decoder, own: Decoder, emissions: Sequence[FloatArray]) -> tuple[int, int]:
    """Utterances for which the wide beam finds another text with a better score, and how many it was asked about."""
    began = time.process_time()
    errors = asked = 0
    for each in emissions:
        if asked and time.process_time() - began > WIDE_S:
            break
        (best, *_), (found, *_) = wide.decode(each), own.decode(each)
        errors += best.text != found.text and bool(best.score > found.score)
        asked += 1
    return errors, asked


def measure(task: Task, wide_frames: int = WIDE_FRAMES) -> dict[str, Any]:
    """Tune, decode, time and print one task."""
    greedy = scored(texts_of(GreedyDecoder(task.surfaces, task.blank), task.test), task.test_texts)
    print(
        f"\n{task.name}: {len(task.test)} utterances, {task.seconds:.0f} s; greedy WER {greedy.counts('wer').rate:.1%}"
    )
    decoders: dict[str, Decoder] = {}
    configs: dict[str, BeamSearchConfig] = {}
    texts: dict[str, list[str]] = {}
    makes: dict[str, Make] = {}
    for name, (make, choices) in SYSTEMS.items():
        try:
            make(task, BeamSearchConfig())
        except InputError as error:
            print(f"{name} is left out: {error}")
            continue
        makes[name] = make
        configs[name] = tuned(task, make, choices)
        decoders[name] = make(task, configs[name])
    makes[TORCH] = loquela
    configs[TORCH] = replace(configs["loquela"], engine="torch")
    decoders[TORCH] = BeamDecoder(task.surfaces, task.blank, task.model, configs[TORCH], "cpu")
    timings = common.interleave(
        {
            name: lambda name=name: texts.__setitem__(name, texts_of(decoders[name], task.test))  # type: ignore[misc]
            for name in makes
        },
        repeats=3,
    )
    scores = {name: scored(texts[name], task.test_texts) for name in makes}
    rows = []
    speed = {name: task.seconds / timing.cpu_median for name, timing in timings.items()}
    wer = {name: score.counts("wer").rate for name, score in scores.items()}
    for name in makes:
        against = scores[name].compare(scores["loquela"], "wer")
        config = configs[name]
        rows.append(
            [
                name, f"{speed[name]:.0f}", f"{speed['loquela'] / speed[name]:.1f}", f"{100 * wer[name]:.2f}",
                f"{100 * against.interval.low:+.2f} to {100 * against.interval.high:+.2f}",
                f"lm {config.lm_weight:g} bonus {config.word_bonus:g} unknown {config.unknown_offset:g} "
                f"{config.spelling_weight:g} "
                f"labels {config.label_threshold:g}/{config.max_labels} beam {config.beam_threshold:g}",
            ]
        )  # fmt: skip
    common.table(["", "audio s / CPU s", "loquela is x", "WER %", "WER minus loquela's", "settings"], rows)
    reach = np.cumsum([len(each) for each in task.test])
    few = task.test[: max(1, int(np.searchsorted(reach, wide_frames, side="right")))]
    errors = {}
    for name, make in makes.items():
        open_config = replace(configs["loquela" if name == TORCH else name], **OPEN)
        errors[name] = search_errors(make(task, open_config), decoders[name], few)
        print(f"search errors of {name}: {errors[name][0]} of {errors[name][1]}")
    gain = threads_gain(task, configs["loquela"])
    print(f"loquela in {THREADS} threads: {gain:.2f} times as fast as in one")
    ops = ops_per_step(task, configs[TORCH])
    print(f"{TORCH}: {ops} operations a step for the whole batch, views not counted")
    shares = gpu_shares(task, configs[TORCH]) if torch.cuda.is_available() else None
    return {
        "audio_seconds_per_second": {name: round(value, 1) for name, value in speed.items()},
        "wer": {name: round(value, 4) for name, value in wer.items()},
        "search_errors": {name: {"errors": wrong, "of": of} for name, (wrong, of) in errors.items()},
        "two_threads_by_one": round(gain, 3),
        "torch_ops_per_step": ops,
        **({} if shares is None else {"gpu_share_of_greedy": shares}),
    }


def threads_gain(task: Task, config: BeamSearchConfig) -> float:
    """How many times as fast `THREADS` threads of one process decode: median of the ratios of five rounds."""
    emissions = task.test * max(1, int(3000 / task.seconds))
    timings = common.interleave(
        {
            name: functools.partial(decode_all, in_threads(task, config, threads), emissions)
            for name, threads in (("one", 1), ("more", THREADS))
        },
        repeats=5,
    )
    return statistics.median(
        one / more for one, more in zip(timings["one"].wall, timings["more"].wall, strict=True)
    )


def ops_per_step(task: Task, config: BeamSearchConfig) -> int:
    """What torch computes in one step of a batch."""
    search = TorchSearch(Models(task.surfaces, task.blank, task.model, config), "cpu")
    emissions = torch.from_numpy(task.test[0])[None]
    frames, _ = search.frames(emissions, torch.tensor([emissions.shape[1]]))
    batch = search.batch(frames)
    with common.OpCounter() as ops:
        batch.advance()
    return sum(ops.counts.values())


def gpu_shares(
    task: Task, config: BeamSearchConfig, *, device: str = "cuda", utterances: int = 128,
    encoder: Mapping[str, Any] = common.XLS_R_300M,
) -> dict[str, float]:  # fmt: skip
    """Throughput of transcription with each engine as a share of that with greedy decoding."""
    threads = torch.get_num_threads()
    print(f"\n{' '.join(GPU_PROTOCOL.format(utterances=utterances, threads=threads).split())}")
    model = build_encoder({"kind": "wav2vec2", "config": dict(encoder)}).to(device).eval()
    samples = seconds_to_samples(10.0)
    noise = torch.randn(min(32, utterances), samples, generator=torch.Generator().manual_seed(0)).to(device)
    lengths = torch.full((len(noise),), samples, device=device)
    emissions = [task.test[place % len(task.test)] for place in range(utterances)]

    @torch.inference_mode()
    def encode(batch: list[FloatArray]) -> list[FloatArray]:
        with torch.autocast(device, torch.bfloat16):
            model(noise, lengths).hidden.cpu()  # waits for it
        return batch

    def transcribe(decoder: Decoder, together: int) -> None:
        encoded = itertools.chain.from_iterable(prefetch(in_rows(emissions, len(noise)), encode))
        for group in in_rows(encoded, together):
            decode_all(decoder, group)

    surfaces, blank = task.surfaces, task.blank
    timings = common.interleave(
        {
            "greedy": functools.partial(transcribe, GreedyDecoder(surfaces, blank), len(noise)),
            "loquela": functools.partial(
                transcribe, in_threads(task, replace(config, engine="cpu"), threads), len(noise)
            ),
            TORCH: functools.partial(
                transcribe, BeamDecoder(surfaces, blank, task.model, config, device), utterances
            ),
        },
        repeats=3,
    )
    common.timing_table(timings)
    shares = {
        name: round(timings["greedy"].wall_median / timings[name].wall_median, 3)
        for name in ("loquela", TORCH)
    }
    for name, share in shares.items():
        print(f"{name} beside an encoder on {device}: {share:.1%} of the greedy throughput")
    return shares


def main() -> None:
    """Measure, print, and end with the figures."""
    options = common.parser("Speed of decoding against pyctcdecode and flashlight-text.")
    options.add_argument(
        "--emissions", nargs=2, type=Path, action="append", default=[], metavar=("EXP", "MANIFEST"),
        help="a trained model and its corpus to decode too; repeatable",
    )  # fmt: skip
    args: argparse.Namespace = options.parse_args()
    machine = common.start("decoding", PROTOCOL, "numba", "pyctcdecode", "flashlight-text", "kenlm")
    sizes = (5_000, 100_000, 8) if args.quick else (50_000, 1_000_000, 40)
    tasks = [corpus(exp, manifest) for exp, manifest in args.emissions]
    with tempfile.TemporaryDirectory() as folder:
        tasks.append(simulated(Path(folder), words=sizes[0], tokens=sizes[1], utterances=sizes[2]))
        found = {task.name: measure(task, 500 if args.quick else WIDE_FRAMES) for task in tasks}
    common.finish({**found["simulated"], "tasks": found, "machine": machine})


if __name__ == "__main__":
    main()
