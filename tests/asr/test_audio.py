"""Audio files to waveforms: every container, every channel, every way a file can be broken."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr

from asr.arrays import FloatArray
from asr.audio import channels, load, measure, probe, stream
from asr.audio.av_reader import AvReader
from asr.names import shown
from lm.errors import InputError

LOSSY_CORRELATION = 0.99


def sound(seconds: float, rate: int, num_channels: int = 1) -> FloatArray:
    """A chirp below 3 kHz, another in each channel, (S, C): no two moments are alike."""
    time = np.arange(round(seconds * rate)) / rate
    parts = [0.4 * np.sin(2 * np.pi * (200 + 300 * c + 60 * time) * time) for c in range(num_channels)]
    return np.stack(parts, axis=1).astype(np.float32)


def write_av(path: Path, samples: FloatArray, rate: int, codec: str, **options: str) -> Path:
    """Encode with FFmpeg's libraries; ``options`` go to the container."""
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open("file:" + os.path.abspath(path), "w", options=options) as container:
        # Noise substitution would make AAC decode differently after a seek.
        settings = {"aac_pns": "0"} if codec == "aac" else {}
        track: Any = container.add_stream(codec, rate=rate, layout=layout, options=settings)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        container.mux([*track.encode(frame), *track.encode(None)])
    return path


def write(path: Path, samples: FloatArray, rate: int) -> Path:
    """Encode as the name's ending says."""
    kind = path.suffix
    if kind in (".m4a", ".mp4"):
        return write_av(path, samples, rate, "aac", **({"movflags": "+faststart"} if kind == ".mp4" else {}))
    if kind == ".webm":
        return write_av(path, samples, rate, "libopus")
    subtype = {".ogg": "VORBIS", ".opus": "OPUS", ".wav": "PCM_16"}.get(kind)
    soundfile.write(path, samples, rate, subtype=subtype, format="OGG" if kind == ".opus" else None)
    return path


def cut(path: Path, share: float = 0.6) -> Path:
    """The file's first bytes, under another name."""
    data = path.read_bytes()
    short = path.with_name("cut" + path.suffix)
    short.write_bytes(data[: int(len(data) * share)])
    return short


def message(path: Path, **options: Any) -> str:
    """The one-line error of reading a file."""
    with pytest.raises(InputError) as caught:
        load(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert shown(path) in text
    return text


KINDS = [".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".webm"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_gives_the_sound_that_was_written(tmp_path: Path, kind: str) -> None:
    rate = 48_000
    samples = sound(2.0, rate, 2)
    path = write(tmp_path / f"talk{kind}", samples, rate)
    info = probe(path)
    assert (info.sample_rate, info.num_channels, info.telephone) == (rate, 2, False)
    assert info.header_duration_s == pytest.approx(2.0, abs=0.03)
    waveform = load(path)
    assert waveform.dtype == np.float32
    assert measure(path) == pytest.approx(2.0, abs=0.03)  # AAC pads its last frame
    expected = soxr.resample(samples.mean(axis=1), rate, 16_000)
    assert 0 <= len(waveform) - len(expected) < 500
    assert np.corrcoef(waveform[: len(expected)], expected)[0, 1] > LOSSY_CORRELATION


@pytest.mark.parametrize("kind", KINDS)
def test_a_stretch_is_the_slice_of_the_whole(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"talk{kind}", sound(4.0, 48_000, 1), 48_000)
    whole = load(path)
    stretch = load(path, offset_s=2.5003, duration_s=0.7501)
    assert len(stretch) == round(0.7501 * 16_000)
    first = round(2.5003 * 16_000)
    np.testing.assert_allclose(stretch, whole[first : first + len(stretch)], atol=2e-4)
    np.testing.assert_allclose(load(path, offset_s=3.9), whole[round(3.9 * 16_000) :], atol=2e-4)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 96_000, 7_919])
@pytest.mark.parametrize("length", [1, 3, 4_001])
def test_resampling_a_stream_equals_resampling_the_whole(tmp_path: Path, rate: int, length: int) -> None:
    samples = np.random.default_rng(rate + length).uniform(-1, 1, length).astype(np.float32)
    path = tmp_path / "noise.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    expected = soxr.resample(samples, rate, 16_000)
    waveform = np.concatenate([np.zeros(0, np.float32), *stream(path)]) if len(expected) else expected
    assert len(waveform) == len(expected)
    assert abs(len(waveform) - length * 16_000 / rate) <= 0.5
    np.testing.assert_array_equal(waveform, expected)


def test_chunks_never_change_the_waveform(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.wav", sound(3.3, 44_100, 2), 44_100)
    whole = load(path)
    for chunk_s in (0.01, 0.37, 1.0, 30.0):
        chunks = list(stream(path, chunk_s=chunk_s))
        assert {len(chunk) for chunk in chunks[:-1]} <= {round(chunk_s * 16_000)}
        np.testing.assert_array_equal(np.concatenate(chunks), whole)


def test_channels_are_mixed_picked_or_read_one_by_one(tmp_path: Path) -> None:
    samples = sound(0.5, 16_000, 3)
    path = tmp_path / "talk.wav"
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(load(path), samples.mean(axis=1), atol=1e-6)
    info = probe(path)
    assert channels("mix", info) == ["mix"]
    assert channels("2", info) == [2]
    assert channels("split", info) == [1, 2, 3]
    for number, channel in enumerate(channels("split", info)):
        np.testing.assert_array_equal(load(path, channel=channel), samples[:, number])
    for wrong in ("0", "4", "left", "-1", ""):
        with pytest.raises(InputError, match="Give `mix`"):
            channels(wrong, info)
    with pytest.raises(InputError, match="no channel 4; it has 3"):
        load(path, channel=4)


def test_channels_that_cancel_each_other_out_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = sound(2.0, 8_000)
    for name, other in (("balanced", -0.99 * one), ("apart", np.roll(one, 40)), ("silent", 0 * one)):
        soundfile.write(tmp_path / f"{name}.wav", np.hstack([one, other]), 8_000)
        for _ in range(2):
            load(tmp_path / f"{name}.wav")
            load(tmp_path / f"{name}.wav", channel=1)
    assert capsys.readouterr().err.count("cancel each other out") == 1


def test_nothing_is_clipped_or_normalised(tmp_path: Path) -> None:
    samples = np.array([0.0, 3.5, -7.25, 1e-6], dtype=np.float32)
    soundfile.write(tmp_path / "loud.wav", samples, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(load(tmp_path / "loud.wav"), samples)


def test_telephone_speech_is_marked(tmp_path: Path) -> None:
    path = write(tmp_path / "call.flac", sound(0.2, 8_000), 8_000)
    assert probe(path).telephone
    assert len(load(path)) == 3_200


@pytest.mark.parametrize(
    "name",
    [
        "two words.wav",
        "lineẞ\nbreak.wav",
        "ስም ʼñ.m4a",
        "-",
        "a:b.mp3",
        "concat:a.m4a",
        "pipe:0.m4a",
        "x%d.m4a",
    ],
)
def test_names_are_never_read_as_anything_but_names(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = write(tmp_path / ("plain" + (Path(name).suffix or ".wav")), sound(0.5, 44_100), 44_100)
    plain.rename(name)
    assert len(load(name)) >= 8_000
    assert "\n" not in shown(name)


def test_undecodable_names_are_read_and_shown(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"bad\xff.m4a")
    try:
        write(tmp_path / "good.m4a", sound(0.2, 44_100), 44_100).rename(path)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert len(load(path)) > 3_000
    shown(path).encode("utf-8")


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    track = write_av(tmp_path / "track.aac", sound(1.0, 44_100), 44_100, "aac")
    playlist = tmp_path / "talk.wav"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{track}\n#EXT-X-ENDLIST\n")
    assert "cannot be read as audio" in message(playlist)
    assert len(load(track)) > 15_000


def test_what_is_no_audio_says_so(tmp_path: Path) -> None:
    assert "No such file" in message(tmp_path / "gone.wav")
    assert "is a folder" in message(tmp_path)
    (tmp_path / "empty.wav").touch()
    assert "is empty" in message(tmp_path / "empty.wav")
    (tmp_path / "text.wav").write_text("not a sound\n" * 50)
    assert "another kind of file" in message(tmp_path / "text.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    assert "is a pipe" in message(tmp_path / "pipe.wav")


def test_a_file_without_samples_or_channels_says_so(tmp_path: Path) -> None:
    path = tmp_path / "nothing.wav"
    soundfile.write(path, np.zeros((0, 1)), 16_000)
    assert "holds no samples" in message(path)
    data = bytearray(write(tmp_path / "zero.wav", sound(0.1, 16_000), 16_000).read_bytes())
    data[22:24] = b"\0\0"  # number of channels
    (tmp_path / "zero.wav").write_bytes(data)
    message(tmp_path / "zero.wav")


def test_a_film_without_sound_says_so(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        track: Any = container.add_stream("mpeg4", rate=5)
        track.width = track.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux([*track.encode(frame), *track.encode(None)])
    assert "has no audio stream" in message(path)


@pytest.mark.parametrize("kind", [".flac", ".mp4", ".webm", ".mp3", ".wav"])
def test_a_truncated_file_says_after_how_many_seconds_it_broke(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    samples = sound(6.0, 48_000) + 0.01 * rng.standard_normal((288_000, 1)).astype(np.float32)
    path = cut(write(tmp_path / f"talk{kind}", samples, 48_000))
    text = message(path)
    second = float(text.split("after ")[1].split(" s")[0])
    assert 2.4 < second < 4.0
    assert "6.0 s" in text
    with pytest.raises(InputError):
        measure(path)


@pytest.mark.parametrize("kind", [".ogg", ".opus", ".m4a"])
def test_a_truncated_file_without_index_is_refused(tmp_path: Path, kind: str) -> None:
    path = cut(write(tmp_path / f"talk{kind}", sound(3.0, 48_000), 48_000))
    assert "Copy" in message(path)


@pytest.mark.parametrize("kind", ["AIFF", "AU", "W64", "CAF", "NIST", "VOC", "RF64"])
def test_a_truncated_file_of_samples_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "talk.wav"
    soundfile.write(path, sound(2.0, 16_000), 16_000, format=kind, subtype="PCM_16")
    assert len(load(path)) == 32_000
    assert "missing" in message(cut(path))
    assert sum(map(len, stream(path, partly=True))) == 32_000
    with pytest.raises(InputError, match="missing"):
        list(stream(cut(path), partly=True))


def test_a_header_that_counts_too_few_samples_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.wav", sound(3.0, 16_000), 16_000)
    data = path.read_bytes()
    at = data.index(b"data") + 4
    remark = b"LIST" + struct.pack("<I", 40_001) + bytes(40_001)
    for kept in (
        data + remark,
        data + remark + b"\0id3 " + struct.pack("<I", 40_000) + bytes(40_000),
        data + b"TAG",
    ):
        path.write_bytes(kept)
        assert len(load(path)) == 48_000
    for broken in (data[:at] + struct.pack("<I", 32_000) + data[at + 4 :], data + data, data + bytes(40_000)):
        path.write_bytes(broken)
        assert "bytes follow" in message(path)


def test_a_recorder_that_died_is_told_from_a_stream(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.wav", sound(0.5, 16_000), 16_000)
    data = path.read_bytes()
    at = data.index(b"data") + 4
    for size in (0xFFFFFFFF, 0x7FFFFFFF - 36):  # what ffmpeg and sox write to a pipe
        path.write_bytes(data[:at] + struct.pack("<I", size) + data[at + 4 :])
        assert len(load(path)) == 8_000
    path.write_bytes(data[:at] + struct.pack("<I", 0) + data[at + 4 :])
    assert "did not close the file" in message(path)


def test_sound_that_libsndfile_would_pass_over_is_read(tmp_path: Path) -> None:
    # Two Ogg streams end to end; an MP3 of variable bit rate without the header that counts it.
    first = write(tmp_path / "first.ogg", sound(1.0, 16_000), 16_000)
    second = tmp_path / "second.ogg"
    data = bytearray(write(second, sound(2.0, 16_000), 16_000).read_bytes())
    assert data[14:18] != first.read_bytes()[14:18], "serial numbers must differ"
    both = tmp_path / "both.ogg"
    both.write_bytes(first.read_bytes() + data)
    assert soundfile.info(both).duration == pytest.approx(1.0)
    assert measure(both) == pytest.approx(3.0, abs=0.05)

    loud = sound(4.0, 44_100) * np.linspace(1, 0.001, 4 * 44_100, dtype=np.float32)[:, None]
    mp3 = write_av(tmp_path / "talk.mp3", loud, 44_100, "libmp3lame", write_xing="0")
    assert probe(mp3).header_duration_s is None
    assert measure(mp3) == pytest.approx(4.0, abs=0.1)


def test_padding_behind_an_mp3_is_no_damage_but_within_it_is(tmp_path: Path) -> None:
    path = write_av(tmp_path / "talk.mp3", sound(2.0, 44_100), 44_100, "libmp3lame", write_xing="0")
    seconds = measure(path)
    data = path.read_bytes()
    path.write_bytes(data + bytes(3_000) + b"TAG" + b"x" * 125)
    assert measure(path) == seconds
    path.write_bytes(data[: len(data) // 2] + np.random.default_rng(0).bytes(3_000) + data[len(data) // 2 :])
    assert "decoding broke after 1." in message(path)


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.flac", sound(2.0, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that count samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert probe(path).header_duration_s is None
    assert measure(path) == 2.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_named_with_its_second(tmp_path: Path, value: float) -> None:
    samples = np.zeros((40_000, 2), np.float32)
    samples[24_000, 1] = value
    path = tmp_path / "nan.wav"
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    assert "at 1.500 s" in message(path)
    assert len(load(path, duration_s=0.5)) == 8_000


def test_times_beyond_the_recording_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.wav", sound(1.0, 16_000), 16_000)
    assert len(load(path, offset_s=0.5, duration_s=0.55)) == 8_000  # a table's rounding
    assert "it ends at 1.00 s" in message(path, offset_s=0.5, duration_s=0.7)
    assert "at 2.00 s" in message(path, offset_s=2.0)
    assert "positive span" in message(path, offset_s=-1.0)
    assert "positive span" in message(path, duration_s=0.0)
    assert "positive span" in message(path, offset_s=float("nan"))


def test_a_hundredth_of_a_second_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "blip.wav", sound(0.01, 44_100), 44_100)
    assert len(load(path)) == 160


def test_half_an_hour_needs_no_more_memory_than_three_minutes(tmp_path: Path) -> None:
    def peak(minutes: int) -> int:
        path = tmp_path / "long.wav"
        size = minutes * 60 * 16_000 * 2
        header = b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt "
        header += struct.pack("<IHHIIHH", 16, 1, 2, 16_000, 32_000, 2, 8)
        path.write_bytes(header + b"data" + struct.pack("<I", size))
        os.truncate(path, 44 + size)  # a hole: takes no room on the disk
        tracemalloc.start()
        blocks = sum(1 for _ in stream(path))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert blocks == 2 * minutes
        return highest

    short = peak(3)
    assert short < 10e6
    assert peak(30) < 1.05 * short


@pytest.mark.parametrize("ending", ["wav", "ogg"])
def test_a_stretch_is_whole_though_its_recording_breaks_off(tmp_path: Path, ending: str) -> None:
    sound = (0.1 * np.random.default_rng(4).standard_normal(4 * 16_000)).astype(np.float32)
    path = tmp_path / f"talk.{ending}"
    soundfile.write(path, sound, 16_000)
    whole = load(path, offset_s=0.5, duration_s=1.0)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size * 5 // 8)
    np.testing.assert_array_equal(load(path, offset_s=0.5, duration_s=1.0), whole)
    for stretch in ({}, {"offset_s": 2.0, "duration_s": 1.5}, {"offset_s": 3.5, "duration_s": 0.5}):
        with pytest.raises(InputError, match=rf"talk\.{ending}"):
            load(path, **stretch)


def write_video(path: Path, samples: FloatArray, codec: str, sound_s: float, picture_s: float = 0.0) -> Path:
    """A second of grey pictures from ``picture_s`` and sound at 48 kHz from ``sound_s``."""
    with av.open(str(path), "w") as container:
        picture: Any = container.add_stream("libvpx" if path.suffix == ".webm" else "mpeg4", rate=10)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        track: Any = container.add_stream(codec, rate=48_000, layout="mono")
        packets = []
        for number in range(10):
            grey = np.full((64, 64, 3), 128, np.uint8)
            image = av.VideoFrame.from_ndarray(grey, format="rgb24")
            image.pts, image.time_base = number + round(10 * picture_s), Fraction(1, 10)
            packets += picture.encode(image)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, round(sound_s * 48_000), Fraction(1, 48_000)
        resampler = av.AudioResampler(format=track.format.name, layout="mono", rate=48_000, frame_size=960)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            packets += track.encode(part)
        packets += [*picture.encode(None), *track.encode(None)]
        timed = [packet for packet in packets if packet.dts is not None]
        for packet in sorted(timed, key=lambda each: each.dts * each.time_base):
            container.mux(packet)
    return path


VIDEOS = [(".mp4", "aac"), (".mov", "aac"), (".mkv", "libopus"), (".webm", "libopus")]


@pytest.mark.parametrize(("kind", "codec"), VIDEOS)
def test_sound_that_begins_after_the_picture_has_the_players_times(
    tmp_path: Path, kind: str, codec: str
) -> None:
    samples = sound(3.0, 48_000)
    late = write_video(tmp_path / f"late{kind}", samples, codec, sound_s=2.0)
    waveform = load(late)
    loud = int(np.argmax(np.abs(waveform) > 0.05)) / 16_000
    assert loud == pytest.approx(2.0, abs=0.08)  # an AAC encoder begins one frame earlier
    assert len(waveform) / 16_000 == pytest.approx(5.0, abs=0.1)
    assert probe(late).header_duration_s == pytest.approx(5.0, abs=0.1)
    assert measure(late) == pytest.approx(5.0, abs=0.1)
    for start in (0.5, 1.9, 3.0):  # before, across and after the beginning
        stretch = load(late, offset_s=start, duration_s=1.0)
        whole = waveform[round(start * 16_000) :][:16_000]
        assert np.corrcoef(stretch, whole)[0, 1] > 0.99 if whole.any() else not stretch.any()
    early = write_video(tmp_path / f"early{kind}", samples, codec, sound_s=0.0, picture_s=2.0)
    assert np.argmax(np.abs(load(early)) > 0.05) / 16_000 < 0.08  # the player's time begins with the sound
    together = write_video(tmp_path / f"together{kind}", samples, codec, sound_s=0.0)
    assert np.argmax(np.abs(load(together)) > 0.05) / 16_000 < 0.08


@pytest.mark.parametrize("kind", [".mp3", ".opus", ".ogg", ".m4a"])
def test_the_delay_of_an_encoder_is_no_silence(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"a{kind}", sound(2.0, 48_000), 48_000)
    seconds = sum(map(len, AvReader(path).blocks(0))) / 48_000
    assert seconds == pytest.approx(2.0, abs=0.06)


def remux(path: Path, out: Path, shift_s: Callable[[float], float | None]) -> Path:
    """The same packets with their stamps moved by what ``shift_s`` says of each; None leaves one out."""
    with av.open(str(path)) as old, av.open(str(out), "w") as new:
        track: Any = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(old.streams.audio[0]):
            if packet.dts is None or (shift := shift_s(float(packet.pts * packet.time_base))) is None:
                continue
            packet.pts = packet.dts = packet.pts + round(shift / packet.time_base)
            packet.stream = track
            new.mux(packet)
    return out


@pytest.mark.parametrize("kind", [".webm", ".mka", ".ts", ".mp4"])
def test_many_small_holes_do_not_add_up(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = sound(12.0, 48_000)
    whole = write(tmp_path / ("whole.mp4" if kind == ".mp4" else "whole.webm"), samples, 48_000)
    lossy = remux(whole, tmp_path / f"lossy{kind}", lambda at: None if at % 0.5 < 0.05 and at > 1 else 0.0)
    same = remux(whole, tmp_path / f"same{kind}", lambda at: 0.0)
    assert measure(same) == pytest.approx(12.0, abs=0.05)
    assert not capsys.readouterr().err
    heard, told = load(lossy), load(whole)
    assert abs(len(heard) - len(told)) < 0.15 * 16_000
    for second in (4, 7, 10):  # a chirp: where it sounds higher it is later
        pitch = [
            np.abs(np.fft.rfft(each[second * 16_000 + 2_000 :][:4_000], 65_536)).argmax() * 16_000 / 65_536
            for each in (heard, told)
        ]
        assert pitch[0] == pytest.approx(pitch[1], abs=0.12 * 120)  # it rises by 120 Hz a second
    np.testing.assert_allclose(load(lossy, offset_s=0.5, duration_s=3.0), heard[8_000:56_000], atol=1e-6)
    assert capsys.readouterr().err.count("lossy") == 1


def test_stamps_that_begin_anew_hide_no_sound_and_a_huge_hole_is_told(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.webm", sound(4.0, 48_000), 48_000)
    again = remux(whole, tmp_path / "again.ts", lambda at: 0.0)
    again.write_bytes(2 * again.read_bytes())
    assert measure(again) == pytest.approx(8.0, abs=0.05)
    far = remux(whole, tmp_path / "far.webm", lambda at: 0.0 if at < 2 else 400.0)
    assert "400.00 s of sound are missing after 2.0 s" in message(far)
