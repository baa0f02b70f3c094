"""Audio files to waveforms: mono float32 at 16 kHz, in bounded chunks."""

from asr.audio.reader import AudioInfo
from asr.audio.waveform import Channel, channels, load, measure, probe, stream

__all__ = ["AudioInfo", "Channel", "channels", "load", "measure", "probe", "stream"]
