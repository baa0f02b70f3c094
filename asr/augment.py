"""Changes to a training waveform: speed, room, noise, telephone. Each draws from a generator that the caller seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asr.arrays import FloatArray
from asr.audio.amr import BIT_RATES
from asr.audio.channel import PhoneCodec, room, telephone
from asr.audio.speed import change_speed
from asr.features import LOW_HZ
from asr.frames import SAMPLE_RATE
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Waveform augmentation; filterbank masking belongs to the encoder."""

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Playing speeds, drawn uniformly (Ko et al. 2015); pitch changes with them."""
    room_probability: float = 0.0
    """Share of the waveforms that are given a room."""
    telephone_probability: float = 0.0
    """Share that is sent through a telephone, after the noise: 300 to 3,400 Hz, 8 kHz, and a codec."""
    telephone_codecs: tuple[PhoneCodec, ...] = ("mu-law", "amr-nb")
    """One of these, drawn uniformly: a line's, and a mobile phone's at one of its eight bit rates."""
    noise_probability: float = 0.2
    noise_snr_db: tuple[float, ...] = (10.0, 30.0)
    """Least and greatest signal-to-noise ratio of the added coloured noise."""
    gain_db: float = 6.0
    """Greatest change of level, either way."""

    def __post_init__(self) -> None:
        if any(not 0.1 <= speed <= 10 for speed in self.speeds):
            raise InputError(f"augment.speeds is {self.speeds}. Give factors such as 0.9 and 1.1.")
        for name in ("room_probability", "telephone_probability", "noise_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"augment.{name} is {getattr(self, name)}. Give a share of the waveforms, from 0 to 1."
                )
        if not 0 <= self.gain_db < math.inf:
            raise InputError(f"augment.gain_db is {self.gain_db}. Give decibels from 0, the most either way.")
        if not self.telephone_codecs:
            raise InputError("augment.telephone_codecs is empty. Give mu-law, amr-nb, or both.")
        ratios = self.noise_snr_db
        if len(ratios) != 2 or not -math.inf < ratios[0] <= ratios[1] < math.inf:
            raise InputError(
                f"augment.noise_snr_db is {ratios}. Give the least and the greatest ratio in dB."
            )


def augment(waveform: FloatArray, config: AugmentConfig, generator: np.random.Generator) -> FloatArray:
    """One random variant of a waveform, (S,) -> (S',); its length changes with the speed."""
    speed = float(generator.choice(config.speeds)) if config.speeds else 1.0
    if speed != 1.0:
        waveform = change_speed(waveform, speed)
    if config.room_probability and generator.random() < config.room_probability:
        waveform = room(waveform, generator)
    if generator.random() < config.noise_probability:
        waveform = waveform + _noise(waveform, config.noise_snr_db, generator)
    if config.telephone_probability and generator.random() < config.telephone_probability:
        codec = config.telephone_codecs[generator.integers(len(config.telephone_codecs))]
        waveform = telephone(waveform, codec, int(generator.choice(BIT_RATES)))
    if config.gain_db:
        waveform = waveform * np.float32(10 ** (generator.uniform(-config.gain_db, config.gain_db) / 20))
    return waveform.astype(np.float32, copy=False)


def shortest_factor(config: AugmentConfig) -> float:
    """Smallest ratio of an augmented waveform's length to the original's."""
    return 1 / max((*config.speeds, 1.0))


def _noise(waveform: FloatArray, snr_db: tuple[float, ...], generator: np.random.Generator) -> FloatArray:
    """Gaussian noise from 20 Hz up, whose spectrum falls off by a random power of frequency (0 white, 2 brown).

    Below that nobody hears anything, and the steeper the fall, the more of the power would lie there.
    """
    spectrum = np.fft.rfft(generator.standard_normal(len(waveform)).astype(np.float32))
    fall = generator.uniform(0, 2)
    spectrum *= np.arange(1, len(spectrum) + 1, dtype=np.float32) ** (-fall / 2)
    spectrum[np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE) < LOW_HZ] = 0
    noise = np.fft.irfft(spectrum, len(waveform)).astype(np.float32)
    speech_power = float(np.mean(waveform**2))
    noise_power = float(np.mean(noise**2)) or 1.0
    ratio = speech_power / noise_power / 10 ** (generator.uniform(min(snr_db), max(snr_db)) / 10)
    return noise * np.float32(np.sqrt(ratio))
