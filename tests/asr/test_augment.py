"""Augmentation does what it says, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.arrays import FloatArray
from asr.audio.channel import PhoneCodec, telephone
from asr.augment import AugmentConfig, augment, shortest_factor
from lm.errors import InputError

ROOT = Path(__file__).parents[2]

TONE = (0.1 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)).astype(np.float32)
STILL = AugmentConfig(speeds=(), noise_probability=0, gain_db=0)


def test_no_augmentation_changes_nothing() -> None:
    np.testing.assert_array_equal(augment(TONE, STILL, np.random.default_rng(0)), TONE)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_changes_length_and_pitch(speed: float) -> None:
    played = augment(
        TONE, AugmentConfig(speeds=(speed,), noise_probability=0, gain_db=0), np.random.default_rng(0)
    )
    assert len(played) == pytest.approx(len(TONE) / speed, abs=2)
    peak = np.abs(np.fft.rfft(played)).argmax() * 16_000 / len(played)
    assert peak == pytest.approx(1_000 * speed, abs=2)


def test_noise_has_the_ratio_that_was_asked_for() -> None:
    config = AugmentConfig(speeds=(), noise_probability=1, noise_snr_db=(10, 10), gain_db=0)
    noise = augment(TONE, config, np.random.default_rng(0)) - TONE
    assert 10 * np.log10(np.mean(TONE**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.1)


def decibels(one: FloatArray, other: FloatArray) -> float:
    """By how much the one is louder."""
    return float(10 * np.log10(np.mean(np.square(one)) / np.mean(np.square(other))))


def test_noise_is_of_all_ratios_between_the_two() -> None:
    config = replace(STILL, noise_probability=1, noise_snr_db=(10, 30))
    heard = [augment(TONE, config, np.random.default_rng(seed)) for seed in range(60)]
    found = [decibels(TONE, waveform - TONE) for waveform in heard]
    assert 9.9 <= min(found) < 13
    assert 27 < max(found) <= 30.1


def test_the_level_changes_by_no_more_than_the_gain_either_way() -> None:
    config = replace(STILL, gain_db=6)
    found = [decibels(augment(TONE, config, np.random.default_rng(seed)), TONE) for seed in range(60)]
    assert -6.01 <= min(found) < -4
    assert 4 < max(found) <= 6.01


@pytest.mark.parametrize("name", ["room_probability", "telephone_probability", "noise_probability"])
def test_a_share_of_the_waveforms_is_changed(name: str) -> None:
    config = replace(STILL, **{name: 0.2})
    heard = [augment(TONE, config, np.random.default_rng(seed)) for seed in range(60)]
    # Within three deviations of a fifth.
    assert 3 <= sum(not np.array_equal(waveform, TONE) for waveform in heard) <= 21


def test_the_noise_that_was_asked_for_is_heard() -> None:
    """However steep its spectrum, none of it is below what a filterbank hears."""
    sound = (0.1 * np.random.default_rng(9).standard_normal(160_000)).astype(np.float32)
    config = AugmentConfig(speeds=(), noise_probability=1, noise_snr_db=(10, 10), gain_db=0)
    for seed in range(8):
        spectrum = np.abs(np.fft.rfft(augment(sound, config, np.random.default_rng(seed)) - sound)) ** 2
        assert spectrum[:200].sum() < 1e-3 * spectrum.sum()  # 0 to 20 Hz in steps of 0.1


@pytest.mark.parametrize("count", [1, 2, 100])
def test_noise_of_a_moment_is_finite(count: int) -> None:
    config = AugmentConfig(speeds=(), noise_probability=1, gain_db=0)
    assert np.isfinite(augment(TONE[1 : 1 + count], config, np.random.default_rng(0))).all()


@pytest.mark.parametrize("codec", ["mu-law", "amr-nb"])
def test_a_telephone_keeps_its_band_alone(codec: PhoneCodec) -> None:
    clock = np.arange(16_000) / 16_000
    low, mid, high = (0.1 * np.sin(2 * np.pi * pitch * clock) for pitch in (100, 1_000, 5_000))
    config = replace(STILL, telephone_probability=1, telephone_codecs=(codec,))
    heard = augment((low + mid + high).astype(np.float32), config, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(heard))
    assert spectrum[1_000] > 500
    assert spectrum[100] < 0.05 * spectrum[1_000]
    assert spectrum[5_000] < 0.01 * spectrum[1_000]


def test_a_mobile_phone_keeps_the_time_and_loses_more_at_fewer_bits() -> None:
    speech, _ = soundfile.read(ROOT / "egs/mini/demo/talk.ogg", frames=64_000, dtype="float32")
    line = telephone(speech)
    kept = []
    for bit_rate in (12_200, 4_750):
        heard = telephone(speech, "amr-nb", bit_rate)
        assert heard.shape == speech.shape
        shifts = range(-160, 161, 8)
        likeness = [np.corrcoef(line[400:-400], np.roll(heard, -shift)[400:-400])[0, 1] for shift in shifts]
        assert abs(shifts[int(np.argmax(likeness))]) <= 8
        kept.append(max(likeness))
    assert 0.95 > kept[0] > kept[1] > 0.6
    assert telephone(np.zeros(10, np.float32), "amr-nb").shape == (10,)
    with pytest.raises(InputError, match="telephone_codecs is empty"):
        AugmentConfig(telephone_codecs=())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noise_probability", 20.0), ("telephone_probability", 30.0), ("room_probability", -1.0),
        ("room_probability", float("nan")), ("gain_db", -6.0), ("gain_db", float("inf")),
    ],
)  # fmt: skip
def test_settings_out_of_bounds_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"augment\.{name} is {value}\. Give"):
        replace(STILL, **{name: value})


def test_a_room_goes_on_after_the_sound() -> None:
    click = np.zeros(16_000, np.float32)
    click[1_000] = 1
    config = AugmentConfig(speeds=(), noise_probability=0, gain_db=0, room_probability=1)
    heard = augment(click, config, np.random.default_rng(0))
    assert heard[1_000] == pytest.approx(1, abs=1e-4)
    assert np.abs(heard[:1_000]).max() < 1e-5
    early, late = (float(np.square(heard[a:b]).sum()) for a, b in ((1_040, 3_000), (6_000, 9_000)))
    assert early > 100 * late > 0


def test_the_seed_decides() -> None:
    first, again, other = (augment(TONE, AugmentConfig(), np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or not np.array_equal(first, other)


def test_the_shortest_factor_is_that_of_the_fastest_speed() -> None:
    assert shortest_factor(AugmentConfig()) == pytest.approx(1 / 1.1)
    assert shortest_factor(STILL) == 1
