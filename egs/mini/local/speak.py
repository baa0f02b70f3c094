"""Speech from espeak-ng: the only module that runs it."""

from __future__ import annotations

import io
import shutil
import subprocess

import numpy as np
import soundfile
import soxr
from plan import Line

from asr.arrays import FloatArray
from asr.frames import SAMPLE_RATE
from lm.errors import InputError

_QUIET = 10 ** (-50 / 20)
"""Below this part of the peak there is no speech."""


def require_espeak() -> str:
    """espeak-ng's version.

    Raises:
        InputError: it is not installed.
    """
    if not shutil.which("espeak-ng"):
        raise InputError(
            "espeak-ng is not on PATH; making the audio again needs it, and this stage alone. "
            "`apt-get install espeak-ng`, or use the corpus in egs/mini/data as it is."
        )
    out = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True).stdout
    return out.split(":")[1].split()[0]


def speak(line: Line) -> FloatArray:
    """The line spoken: 16 kHz mono, (S,), silence cut from both ends, peak 1.

    Raises:
        InputError: espeak-ng fails on it or says nothing.
    """
    command = ["espeak-ng", "-v", f"{line.espeak}+{line.voice.variant}", "--stdin", "--stdout"]
    command += ["-s", str(line.rate), "-p", str(line.pitch), "-g", str(line.gap)]
    done = subprocess.run(command, input=line.text.encode(), capture_output=True, check=False)
    if done.returncode:
        raise InputError(
            f"espeak-ng failed on {line.id}: {done.stderr.decode().strip()}. Check its voice {command[2]}."
        )
    waveform, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    waveform = soxr.resample(waveform, rate, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(waveform) > _QUIET * np.abs(waveform).max(initial=0.0))
    if not loud.size:
        raise InputError(
            f"espeak-ng said nothing for {line.id}: {line.text!r}. Check its voice {command[2]}."
        )
    speech: FloatArray = waveform[loud[0] : loud[-1] + 1].astype(np.float32)
    speech /= np.abs(speech).max()
    return speech
