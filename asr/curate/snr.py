"""Signal-to-noise ratio of speech from its amplitudes alone (WADA, Kim and Stern 2008)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK_SAMPLES = 160
"""10 ms."""
RANGE_DB = 55.0
"""Blocks farther below the loudest are muted pauses. Of 451 utterances of Killkan and Mboshi (Vorbis, whose pauses
are muted) none becomes noisy by it at 15 dB; with a range of 50 dB two of 57 of Mboshi's do."""

LOWEST_DB = -20
# ln E|x| - E ln|x| at -20, -19, ... 100 dB, for speech whose amplitude is Gamma(0.4) with a random sign
# and Gaussian noise: by quadrature over the amplitude, with E|s + n| in closed form and E ln|s + n| as
# half the mean digamma of the noncentral chi-square's Poisson mixture.
TABLE = np.array([
    0.4094, 0.4095, 0.4095, 0.4096, 0.4096, 0.4098, 0.4100, 0.4103, 0.4107, 0.4113, 0.4121, 0.4133,
    0.4150, 0.4172, 0.4201, 0.4238, 0.4287, 0.4347, 0.4421, 0.4511, 0.4618, 0.4744, 0.4888, 0.5052,
    0.5234, 0.5436, 0.5654, 0.5889, 0.6139, 0.6401, 0.6673, 0.6955, 0.7242, 0.7534, 0.7828, 0.8123,
    0.8417, 0.8708, 0.8997, 0.9280, 0.9558, 0.9830, 1.0095, 1.0353, 1.0604, 1.0847, 1.1081, 1.1308,
    1.1527, 1.1738, 1.1941, 1.2136, 1.2323, 1.2503, 1.2676, 1.2842, 1.3001, 1.3153, 1.3299, 1.3439,
    1.3573, 1.3701, 1.3823, 1.3940, 1.4052, 1.4159, 1.4262, 1.4360, 1.4453, 1.4543, 1.4628, 1.4710,
    1.4788, 1.4863, 1.4934, 1.5002, 1.5067, 1.5129, 1.5189, 1.5246, 1.5300, 1.5352, 1.5401, 1.5448,
    1.5493, 1.5536, 1.5577, 1.5617, 1.5654, 1.5690, 1.5724, 1.5757, 1.5788, 1.5818, 1.5847, 1.5874,
    1.5900, 1.5925, 1.5948, 1.5971, 1.5992, 1.6013, 1.6033, 1.6052, 1.6070, 1.6087, 1.6103, 1.6119,
    1.6134, 1.6148, 1.6162, 1.6175, 1.6187, 1.6199, 1.6210, 1.6221, 1.6231, 1.6241, 1.6251, 1.6260, 1.6268,
])  # fmt: skip


def wada_snr(waveform: NDArray[np.float32]) -> float:
    """Signal-to-noise ratio in dB, from -20 to 100; NaN of silence.

    Muted pauses and the offset of a recorder are taken off first: nobody hears them, and both would decide the
    statistic. A lossy codec gives a muted pause as samples near zero, whose logarithms are huge.

    Args:
        waveform: speech with whatever noise there is, (S,).
    """
    blocks = waveform[: len(waveform) // BLOCK_SAMPLES * BLOCK_SAMPLES].reshape(-1, BLOCK_SAMPLES)
    level = blocks.std(axis=1, dtype=np.float64)  # without its mean, so whatever the offset is
    heard = blocks[level > level.max(initial=0) * 10 ** (-RANGE_DB / 20)].astype(np.float64)
    heard = heard[np.abs(heard) > 1e-10]
    amplitude = np.abs(heard - heard.sum() / max(1, heard.size))
    amplitude = amplitude[amplitude > 1e-10]
    if not amplitude.size:
        return float("nan")
    statistic = np.log(amplitude.mean()) - np.log(amplitude).mean()
    return float(np.interp(statistic, TABLE, LOWEST_DB + np.arange(len(TABLE))))
