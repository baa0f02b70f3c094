"""What a self-supervised encoder is asked for: one class for each objective, all with one face."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.encoder import Encoder
from asr.encoder.base import Frames
from asr.encoder.masking import span_mask
from asr.features import Filterbank, frame_mask, stack_frames
from asr.frames import samples_to_seconds
from asr.pretrain.alteration import Alteration, AlterConfig
from asr.pretrain.contrastive import contrastive_loss, masked_places, sample_negatives
from asr.pretrain.quantizer import CentroidQuantizer, GumbelQuantizer, Quantized, RandomQuantizer
from asr.watchdog import Watch
from lm.errors import InputError

HEARD_S = 1800.0
"""Seconds of audio that k-means hears."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Which objective, and its settings; each objective reads those it names."""

    kind: Literal["wav2vec2", "w2v-bert", "best-rq", "hubert", "tera"] = "wav2vec2"
    mask_probability: float = 0.65
    """Expected share of masked frames if spans never overlapped (wav2vec 2.0: 0.65, which masks 49 %)."""
    mask_span_s: float = 0.2
    """Seconds in a masked span (wav2vec 2.0: 10 frames of 20 ms)."""
    num_groups: int = 2
    """Codebooks of the quantiser (w2v-BERT: 1)."""
    num_codes: int = 320
    """Codes in each (w2v-BERT: 1,024; BEST-RQ: 8,192; HuBERT: 100)."""
    code_width: int = 256
    """Size of a quantised vector, all groups together. BEST-RQ takes 16, its paper's, where this default stands."""
    project_width: int = 256
    """Size of the vectors that are compared."""
    num_negatives: int = 100
    contrastive_temperature: float = 0.1
    diversity_weight: float = 0.1
    penalty_weight: float = 0.0
    """Of the mean square of the convolutional features (base models: 10; large ones: 0)."""
    contrastive_layer: int = 0
    """w2v-BERT: the layer that is contrasted; 0 is a third of the way up (fairseq2: 8 of 24)."""
    prediction_weight: float = 1.0
    """w2v-BERT: of the cross-entropy of the codes at the last layer."""
    contrastive_weight: float = 1.0
    gumbel: tuple[float, ...] = (2.0, 0.5)
    """First and last temperature of the quantiser's choices (large models end at 0.1)."""
    gumbel_share: float = 0.7
    """Share of the training at which the last is reached (base models: 277k of 400k updates)."""
    alter: AlterConfig = field(default_factory=AlterConfig)
    """TERA alone."""

    def __post_init__(self) -> None:
        if not 0 < self.mask_probability < 1:
            raise InputError(
                f"objective.mask_probability is {self.mask_probability}. Give a share between 0 and 1."
            )
        if not 0 < self.mask_span_s < math.inf:
            raise InputError(
                f"objective.mask_span_s is {self.mask_span_s}. Give a number of seconds above 0."
            )
        for name in ("num_groups", "num_codes", "code_width", "project_width", "num_negatives"):
            if getattr(self, name) < 1:
                raise InputError(f"objective.{name} is {getattr(self, name)}. Give a number from 1.")
        for name in ("diversity_weight", "penalty_weight", "prediction_weight", "contrastive_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"objective.{name} is {getattr(self, name)}. Give a number from 0.")
        if not 0 < self.contrastive_temperature < math.inf:
            raise InputError(
                f"objective.contrastive_temperature is {self.contrastive_temperature}. Give a number above 0."
            )
        if not 0 < self.gumbel_share <= 1:
            raise InputError(
                f"objective.gumbel_share is {self.gumbel_share}. Give a share of the training, above 0 to 1."
            )
        if self.code_width % self.num_groups:
            raise InputError(
                f"objective.code_width {self.code_width} is no multiple of objective.num_groups "
                f"{self.num_groups}. Change one."
            )
        if len(self.gumbel) != 2 or not all(0 < each < math.inf for each in self.gumbel):
            raise InputError(f"objective.gumbel is {self.gumbel}. Give the first and the last temperature.")


@dataclass(frozen=True)
class Outcome:
    """What an objective says of a batch; sums, so that batches can be added up."""

    loss: Tensor
    """Sum over the counted frames."""
    count: Tensor
    """Frames that were predicted."""
    terms: dict[str, Tensor]
    """Parts of the loss before weighting, each summed over the counted frames."""
    right: Tensor | None = None
    """Frames whose code was guessed."""
    codes: Tensor | None = None
    """How often each code was the target, (G, V)."""
    spread: Tensor | None = None
    """Variance of the unit-length targets (or outputs) over frames, summed over their axes: 0 where all are
    alike, at most 1."""


class Objective(nn.Module, ABC):
    """A loss that needs no transcripts, with the layers it needs beside the encoder."""

    def __init__(self, encoder: Encoder, config: ObjectiveConfig) -> None:
        """
        Raises:
            InputError: what is predicted of the layers' frames would be asked of the fewer ones after an adapter.
        """
        super().__init__()
        if encoder.shortened:
            raise InputError(
                "the objective predicts frames of the encoder's layers, and an adapter after them makes these fewer. "
                "Pretrain without it: encoder.config={add_adapter: false}."
            )
        self.config = config
        if encoder.mask_embedding is None:
            given = encoder.unused_mask
            new = torch.empty(encoder.width).uniform_() if given is None else given.float().clone()
            self.own_mask = nn.Parameter(new)
        self.span = max(1, round(config.mask_span_s * encoder.grid.frames_per_second))

    @abstractmethod
    def forward(self, encoder: Encoder, waveforms: Tensor, num_samples: Tensor) -> Outcome:
        """Loss of a batch.

        Args:
            waveforms: (N, S), zero-padded at the end.
            num_samples: valid samples, (N,).
        """

    @abstractmethod
    def watches(self) -> list[Watch]:
        """What tells that training has collapsed."""

    def prepare(self, encoder: Encoder, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Look at audio before training begins.

        Args:
            batches: waveforms (N, S) and their valid samples (N,), as they will come; as many as are asked for.
        """

    def anneal(self, progress: float) -> None:
        """Follow the training, of which the share ``progress`` is done."""

    def shortest_frames(self) -> int:
        """Fewest frames of an utterance that can be learned from: two masked ones need each other."""
        return 2 * self.span

    def draw_mask(self, num_frames: Tensor, length: int) -> Tensor:
        """Frames to hide, (N, T) bool."""
        mask = span_mask(
            num_frames.tolist(), length, probability=self.config.mask_probability, span=self.span, min_spans=1
        )
        return mask.to(num_frames.device)

    def hide(self, encoder: Encoder, frames: Frames, mask: Tensor) -> Frames:
        """The same batch with its masked frames replaced by the mask embedding."""
        embedding = encoder.mask_embedding if encoder.mask_embedding is not None else self.own_mask
        return replace(
            frames, hidden=torch.where(mask[..., None], embedding.to(frames.hidden.dtype), frames.hidden)
        )


class Wav2Vec2(Objective):
    """Contrastive prediction of quantised features (Baevski et al. 2020, sec. 3).

    Parameters carry the names of transformers' ``Wav2Vec2ForPreTraining``, so that a published
    model's quantiser goes on where it stopped.
    """

    def __init__(self, encoder: Encoder, config: ObjectiveConfig) -> None:
        super().__init__(encoder, config)
        self.quantizer = GumbelQuantizer(
            encoder.feature_width,
            num_groups=config.num_groups,
            num_codes=config.num_codes,
            width=config.code_width,
        )
        self.project_q = nn.Linear(config.code_width, config.project_width)
        self.project_hid = nn.Linear(encoder.width, config.project_width)

    def forward(self, encoder: Encoder, waveforms: Tensor, num_samples: Tensor) -> Outcome:
        frames = encoder.embed(waveforms, num_samples)
        mask = self.draw_mask(frames.num_frames, frames.hidden.shape[1])
        hidden = encoder.encode(self.hide(encoder, frames, mask)).hidden
        places, num_masked = masked_places(mask)
        return self.contrast(
            frames, hidden, places, num_masked, sample_negatives(num_masked, self.config.num_negatives)
        )[0]

    def contrast(
        self, frames: Frames, hidden: Tensor, places: Tensor, num_masked: Tensor, negatives: Tensor
    ) -> tuple[Outcome, Quantized]:
        """The loss, given what is masked and what it is compared with.

        Args:
            hidden: output of the layers, (N, T, D).
            places, num_masked: see `masked_places`.
            negatives: see `sample_negatives`.
        """
        config = self.config
        counted = frame_mask(num_masked, places.shape[1])  # (N, M)
        quantized = self.quantizer(pick(frames.features, places)[counted])
        targets = spread_out(self.project_q(quantized.vectors), counted)  # (N, M, P)
        codes = spread_out(quantized.codes, counted)
        context = self.project_hid(pick(hidden, places))
        contrastive, right = contrastive_loss(
            context, targets, codes, num_masked, negatives, config.contrastive_temperature
        )
        count = num_masked.sum()
        # Of no frame at all the shares of codes are no numbers.
        diversity = quantized.diversity_loss() * count if count else contrastive.new_zeros(())
        terms = {"contrastive": contrastive, "diversity": diversity}
        loss = config.contrastive_weight * (
            terms["contrastive"] + config.diversity_weight * terms["diversity"]
        )
        if config.penalty_weight:
            raw = frames.raw.float().square().mean(dim=-1)  # (N, T)
            valid = frame_mask(frames.num_frames, raw.shape[1])
            terms["penalty"] = (raw * valid).sum() / valid.sum() * count
            loss = loss + config.penalty_weight * terms["penalty"]
        outcome = Outcome(
            loss,
            count,
            {name: term.detach() for name, term in terms.items()},
            right=right,
            codes=histogram(quantized.codes, config.num_codes),
            spread=spread(targets[counted]),
        )
        return outcome, quantized

    def codes_of(self, encoder: Encoder, waveforms: Tensor, num_samples: Tensor) -> Tensor:
        """Codes of every valid frame of a batch, one utterance after the other, (frames, G)."""
        frames = encoder.embed(waveforms, num_samples)
        valid = frame_mask(frames.num_frames, frames.features.shape[1])
        quantized: Quantized = self.quantizer(frames.features[valid])
        return quantized.codes

    def anneal(self, progress: float) -> None:
        """Lower the quantiser's temperature, geometrically."""
        first, last = self.config.gumbel
        done = min(1.0, progress / self.config.gumbel_share) if self.config.gumbel_share else 1.0
        self.quantizer.temperature = first * (last / first) ** done

    def watches(self) -> list[Watch]:
        config = self.config
        calmer = "lower trainer.lr or lengthen trainer.warmup"
        return [
            Watch(
                value="code_perplexity",
                low=max(1.5 * config.num_groups, 0.01 * config.num_groups * config.num_codes),
                meaning="the quantiser uses next to none of its codes",
                remedy=f"Raise objective.diversity_weight, {calmer}.",
            ),
            Watch(
                value="target_variance",
                low=0.01,
                meaning="the targets of all frames are alike",
                remedy=f"Raise objective.diversity_weight, {calmer}.",
            ),
            Watch(
                value="accuracy",
                low=1.5 / (config.num_negatives + 1),
                meaning="codes are guessed no better than by chance",
                remedy=f"Train longer before judging (trainer.evaluate_every), {calmer}, or lower "
                "objective.mask_probability.",
                grace=5,
                patience=0,
            ),
            Watch(
                value="accuracy",
                high=0.99,
                meaning="codes are told apart without effort, so nothing is learned",
                remedy="Raise objective.mask_span_s or objective.num_negatives; check that the audio is not "
                "one repeated sound.",
            ),
        ]


class W2vBert(Wav2Vec2):
    """The contrastive loss low in the encoder, and the codes predicted at its top (Chung et al. 2021)."""

    def __init__(self, encoder: Encoder, config: ObjectiveConfig) -> None:
        super().__init__(encoder, config)
        self.layer = config.contrastive_layer or max(1, encoder.num_layers // 3)
        if not 1 <= self.layer < encoder.num_layers:
            raise InputError(
                f"objective.contrastive_layer is {self.layer}; the encoder has {encoder.num_layers} layers, and "
                "some must be left above it. Give a number below."
            )
        self.project_codes = nn.Linear(encoder.width, config.num_groups * config.num_codes)

    def forward(self, encoder: Encoder, waveforms: Tensor, num_samples: Tensor) -> Outcome:
        frames = encoder.embed(waveforms, num_samples)
        mask = self.draw_mask(frames.num_frames, frames.hidden.shape[1])
        encoded = encoder.encode(self.hide(encoder, frames, mask), (self.layer,))
        places, num_masked = masked_places(mask)
        outcome, quantized = self.contrast(
            frames,
            encoded.layers[self.layer],
            places,
            num_masked,
            sample_negatives(num_masked, self.config.num_negatives),
        )
        top = pick(encoded.hidden, places)[frame_mask(num_masked, places.shape[1])]  # (K, D)
        logits = self.project_codes(top).float()  # (K, G V)
        # Codes are targets here, not parameters: no gradient reaches the quantiser from above.
        logits = logits.reshape(-1, self.config.num_codes)  # (K G, V)
        prediction = F.cross_entropy(logits, quantized.codes.flatten(), reduction="sum")
        prediction = prediction / self.config.num_groups
        return replace(
            outcome,
            loss=outcome.loss + self.config.prediction_weight * prediction,
            terms={**outcome.terms, "prediction": prediction.detach()},
        )


class CodePrediction(Objective):
    """Codes that do not learn, predicted at masked frames.

    The quantiser reads log-mel filterbanks, whatever the encoder reads, so that targets cannot collapse.
    """

    quantizer: nn.Module

    def __init__(self, encoder: Encoder, config: ObjectiveConfig) -> None:
        super().__init__(encoder, config)
        self.filterbank = Filterbank()
        self.in_width = round(encoder.grid.frame_s * 100) * self.filterbank.num_bins
        self.project_codes = nn.Linear(encoder.width, config.num_codes)

    def forward(self, encoder: Encoder, waveforms: Tensor, num_samples: Tensor) -> Outcome:
        frames = encoder.embed(waveforms, num_samples)
        codes = self._codes(encoder, frames, waveforms, num_samples)
        mask = self.draw_mask(frames.num_frames, frames.hidden.shape[1])
        hidden = encoder.encode(self.hide(encoder, frames, mask)).hidden
        logits = self.project_codes(hidden[mask]).float()  # (K, V)
        loss = F.cross_entropy(logits, codes[mask], reduction="sum")
        guessed = logits.argmax(dim=-1)
        return Outcome(
            loss,
            mask.sum(),
            {"prediction": loss.detach()},
            right=(guessed == codes[mask]).sum(),
            codes=histogram(guessed[:, None], self.config.num_codes),
            spread=spread(hidden[mask]),
        )

    def codes_of(self, encoder: Encoder, waveforms: Tensor, num_samples: Tensor) -> Tensor:
        """Codes of every valid frame of a batch, one utterance after the other, (frames, 1)."""
        frames = encoder.embed(waveforms, num_samples)
        codes = self._codes(encoder, frames, waveforms, num_samples)
        return codes[frame_mask(frames.num_frames, codes.shape[1])][:, None]

    def _codes(self, encoder: Encoder, frames: Frames, waveforms: Tensor, num_samples: Tensor) -> Tensor:
        """Target codes, (N, T)."""
        codes: Tensor = self.quantizer(
            self._features(encoder, waveforms, num_samples, frames.hidden.shape[1])
        )
        return codes

    def _features(self, encoder: Encoder, waveforms: Tensor, num_samples: Tensor, length: int) -> Tensor:
        """What is quantised, (N, T, F)."""
        energies, _ = self.filterbank(waveforms, num_samples)
        return stack_frames(energies, encoder.grid, length)

    def watches(self) -> list[Watch]:
        return [
            Watch(
                value="code_perplexity",
                low=1.5,
                meaning="the same code is guessed for every frame",
                remedy="Lower trainer.lr, lengthen trainer.warmup, or lower objective.mask_probability.",
                grace=5,  # every model begins with the commonest code
                patience=10,
            ),
            Watch(
                value="target_variance",
                low=0.001,
                meaning="the encoder's outputs at all masked frames are alike",
                remedy="Lower trainer.lr, or lengthen trainer.warmup.",
                grace=5,
                patience=10,
            ),
        ]


class BestRq(CodePrediction):
    """Codes of a random quantiser (Chiu et al. 2022)."""

    def __init__(self, encoder: Encoder, config: ObjectiveConfig) -> None:
        super().__init__(encoder, config)
        usual = config.code_width == ObjectiveConfig.code_width
        width = 16 if usual else config.code_width
        self.quantizer = RandomQuantizer(self.in_width, num_codes=config.num_codes, code_width=width)


class Hubert(CodePrediction):
    """Codes that k-means finds in the training audio: HuBERT's first iteration (Hsu et al. 2021).

    Filterbanks instead of MFCC, and a linear layer instead of cosines, as in `BestRq`.
    """

    quantizer: CentroidQuantizer

    def __init__(self, encoder: Encoder, config: ObjectiveConfig) -> None:
        super().__init__(encoder, config)
        self.quantizer = CentroidQuantizer(self.in_width, num_codes=config.num_codes)

    @torch.no_grad()
    def prepare(self, encoder: Encoder, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        if self.quantizer.fitted:  # by the training that this one goes on from
            return
        rows, seconds = [], 0.0
        for waveforms, num_samples in batches:
            num_frames = torch.tensor([encoder.grid.num_frames(int(number)) for number in num_samples])
            length = int(num_frames.max())
            features = self._features(encoder, waveforms, num_samples, length)
            rows.append(features[frame_mask(num_frames, length)])
            seconds += samples_to_seconds(int(num_samples.sum()))
            if seconds >= HEARD_S:
                break
        self.quantizer.fit(torch.cat(rows))


class Tera(Objective):
    """Altered filterbanks put right, L1 where they were altered (Liu et al. 2021)."""

    def __init__(self, encoder: Encoder, config: ObjectiveConfig) -> None:
        super().__init__(encoder, config)
        if not encoder.num_bins:
            raise InputError(
                "objective tera alters filterbanks, and this encoder reads waveforms. Choose wav2vec2, w2v-bert, "
                "best-rq or hubert, or an encoder on filterbanks (conformer, wav2vec2-bert)."
            )
        self.head = nn.Sequential(
            nn.Linear(encoder.width, encoder.width),
            nn.GELU(),
            nn.LayerNorm(encoder.width),
            nn.Linear(encoder.width, encoder.feature_width),
        )

    def prepare(self, encoder: Encoder, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Refuse to train on audio that nothing alters."""
        if not self.config.alter.alters:
            raise InputError(
                "objective.alter alters nothing, so there is nothing to put right. Raise objective.alter.time_share, "
                ".frequency_share or .noise_probability."
            )

    def forward(self, encoder: Encoder, waveforms: Tensor, num_samples: Tensor) -> Outcome:
        alteration = Alteration(self.config.alter)
        frames = encoder.embed(waveforms, num_samples, alteration)
        encoded = encoder.encode(frames)
        length = encoded.hidden.shape[1]
        altered = stack_frames(alteration.altered, encoder.grid, length)
        # Whole frames are counted, so that the loss means the same for a band and for a span.
        altered = altered & frame_mask(encoded.num_frames, length)[..., None]
        error = (self.head(encoded.hidden).float() - frames.features).abs()
        share = altered.float().mean(dim=-1)  # (N, T)
        loss = (error * altered).sum() / error.shape[-1]
        blank = (frames.features.abs() * altered).sum() / error.shape[-1]
        counted = frame_mask(encoded.num_frames, length)
        return Outcome(
            loss,
            share.sum().clamp(min=1e-3),
            {"l1": loss.detach(), "l1_of_zeros": blank},
            spread=spread(encoded.hidden[counted]),
        )

    def watches(self) -> list[Watch]:
        return [
            Watch(
                value="target_variance",
                low=0.001,
                meaning="the encoder's outputs at all frames are alike",
                remedy="Lower trainer.lr, or lengthen trainer.warmup.",
            )
        ]


OBJECTIVES: dict[str, type[Objective]] = {
    "wav2vec2": Wav2Vec2,
    "w2v-bert": W2vBert,
    "best-rq": BestRq,
    "hubert": Hubert,
    "tera": Tera,
}


class PretrainModel(nn.Module):
    """An encoder and what it is asked."""

    def __init__(self, encoder: Encoder, config: ObjectiveConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.objective = OBJECTIVES[config.kind](encoder, config)

    def forward(self, waveforms: Tensor, num_samples: Tensor) -> Outcome:
        """See `Objective.forward`."""
        outcome: Outcome = self.objective(self.encoder, waveforms, num_samples)
        return outcome


def sized_for(config: ObjectiveConfig, weights: Mapping[str, Tensor]) -> ObjectiveConfig:
    """The configuration with the sizes of a wav2vec 2.0 quantiser's weights; as it is where they are none."""
    if not {"quantizer.codevectors", "project_q.weight"} <= weights.keys():
        return config
    books, project = weights["quantizer.codevectors"], weights["project_q.weight"]  # (1, G V, D / G), (P, D)
    groups = project.shape[1] // books.shape[-1]
    return replace(
        config,
        num_groups=groups,
        num_codes=books.shape[-2] // groups,
        code_width=project.shape[1],
        project_width=project.shape[0],
    )


def pick(x: Tensor, places: Tensor) -> Tensor:
    """Frames at the given places, (N, T, D) and (N, M) -> (N, M, D)."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


def spread_out(rows: Tensor, counted: Tensor) -> Tensor:
    """Rows (K, D) back to where ``counted`` (N, M) is true, zeros elsewhere, (N, M, D)."""
    return rows.new_zeros(*counted.shape, rows.shape[-1]).index_put((counted,), rows)


def histogram(codes: Tensor, num_codes: int) -> Tensor:
    """How often each code occurs in each group, (K, G) -> (G, V)."""
    return torch.stack([torch.bincount(group, minlength=num_codes) for group in codes.unbind(dim=1)])


@torch.no_grad()
def spread(vectors: Tensor) -> Tensor:
    """Variance of vectors (K, D) brought to unit length, summed over the axes; a scalar from 0 to 1."""
    unit = F.normalize(vectors.float(), dim=-1)
    return 1 - unit.mean(dim=0).square().sum()
