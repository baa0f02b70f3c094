"""Emissions of a manifest's utterances, for decoding, tuning and scoring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from asr.audio import load
from asr.batches import epoch_batches, prefetch
from asr.manifest import Utterance
from asr.model import CTCModel
from lm.errors import InputError

FloatArray = NDArray[np.float32]


def utterance_emissions(
    model: CTCModel, utterances: Sequence[Utterance], *, batch_s: float = 0.0
) -> Iterator[tuple[Utterance, FloatArray | InputError]]:
    """Log-probabilities (T, C) of each utterance, or why its audio gives none.

    Args:
        batch_s: most seconds in a batch; 0 is `CTCModel.batch_seconds`'s choice.
    Yields:
        each utterance once, in batches of like lengths.
    """
    limit = model.batch_seconds(batch_s)
    order = epoch_batches([u.duration_s for u in utterances], batch_s=limit, seed=0, epoch=0, jitter=0.0)

    def read(indices: list[int]) -> list[tuple[Utterance, FloatArray | InputError]]:
        rows: list[tuple[Utterance, FloatArray | InputError]] = []
        for utterance in (utterances[index] for index in indices):
            try:
                waveform = load(utterance.audio, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
                if not model.encoder.grid.num_frames(len(waveform)):
                    raise InputError(
                        f"{utterance.id}: {utterance.duration_s} s is too short for one frame. Leave it out."
                    )
                rows.append((utterance, waveform))
            except InputError as error:
                rows.append((utterance, error))
        return rows

    for rows in prefetch(iter(order), read):
        good = [waveform for _, waveform in rows if not isinstance(waveform, InputError)]
        emissions = iter(model.emissions(good) if good else ())
        for utterance, waveform in rows:
            yield utterance, waveform if isinstance(waveform, InputError) else next(emissions)
