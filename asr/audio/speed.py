"""Playing a waveform faster or slower, for augmentation."""

from __future__ import annotations

import numpy as np
import soxr

from asr.arrays import FloatArray
from asr.frames import SAMPLE_RATE


def change_speed(waveform: FloatArray, speed: float) -> FloatArray:
    """A waveform played ``speed`` times as fast, pitch and all (Ko et al. 2015), (S,) -> (S / speed,).

    It is read as if it had been recorded at ``speed`` times its rate, and resampled.
    """
    played = soxr.resample(waveform, round(SAMPLE_RATE * speed), SAMPLE_RATE, quality="MQ")
    return np.asarray(played, dtype=np.float32)
