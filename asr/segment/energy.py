"""Voiced or not by energy alone, against a noise floor that follows the recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from asr.arrays import FloatArray
from asr.frames import samples_to_seconds
from asr.segment.sound import Speech
from asr.segment.speech import Decide, SpeechConfig, split_voiced
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class EnergyConfig(SpeechConfig):
    """Frame energy against a running noise floor, which falls at once and rises slowly.

    For voices that webrtcvad, trained on others, takes for noise. It knows nothing of speech:
    music and traffic above the floor are kept. The defaults are ours, not a paper's.
    """

    margin_db: float = 9.0
    """A frame this far above the floor is voiced."""
    rise_db_per_s: float = 3.0
    """How fast the floor follows sound that is louder; speech outlasts it, as it pauses for breath."""
    lowest_floor_db: float = -60.0
    """The floor's beginning and its lower bound, below full scale: digital silence is not the measure."""
    highest_floor_db: float = -30.0
    """The floor's upper bound: sound ``margin_db`` above this is voiced however long it goes on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lowest_floor_db <= self.highest_floor_db <= 0:
            raise InputError(
                "`lowest_floor_db` must not exceed `highest_floor_db`, nor that 0; "
                f"got {self.lowest_floor_db} and {self.highest_floor_db}."
            )
        if self.margin_db <= 0 or self.rise_db_per_s < 0:
            raise InputError(
                "`margin_db` must be above 0 and `rise_db_per_s` not below; "
                f"got {self.margin_db} and {self.rise_db_per_s}."
            )


def split_energy(chunks: Iterable[FloatArray], config: EnergyConfig | None = None) -> Iterator[Speech]:
    """Each stretch that is louder than what is around it; otherwise as `split_speech`."""
    config = config or EnergyConfig()
    return split_voiced(chunks, above_floor(config), config)


def above_floor(config: EnergyConfig) -> Decide:
    """A detector that begins anew: its floor stands at the lower bound."""
    floor = config.lowest_floor_db

    def decide(frames: FloatArray) -> Iterator[bool]:
        nonlocal floor
        power = np.square(frames, dtype=np.float64).mean(axis=1)  # (T, F) -> (T,)
        rise = config.rise_db_per_s * samples_to_seconds(frames.shape[1])
        for level in (10 * np.log10(power + 1e-12)).tolist():
            floor = max(config.lowest_floor_db, min(level, floor + rise, config.highest_floor_db))
            yield level > floor + config.margin_db

    return decide
