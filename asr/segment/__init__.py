"""Cutting a recording into segments that a recogniser can take.

A segmenter takes the chunks of a recording and gives `Segment`s with their samples as soon as they are
certain, in bounded memory, and the same ones however the recording is cut into chunks. They are in
order and disjoint; what lies between them is silence.

`build_segmenter` makes one of a configuration:

| configuration | cuts | after |
|---|---|---|
| `VadConfig` | where webrtcvad hears nobody speak | IndicWav2Vec |
| `FixedConfig` | in even windows | |
| `EnergyConfig` | where it is no louder than what is around | |
| `DacConfig` | at the longest pauses until all fits | SRPOL 2020 |
| `HybridConfig` | at the longest pause between two lengths | FBK 2021 |
| `CtcDacConfig`, `CtcHybridConfig` | the same, at the pauses between a recogniser's letters | SHAS 2022 |
| `PdacConfig`, `PstrmConfig`, `PthrConfig` | where a track of probabilities is low | SHAS 2022, Fukuda 2023 |

A user's own segments are an `OwnSegments`. Where speech had to be cut, neighbours may share sound until emissions part
them: `asr.segment.overlap`.
"""

from asr.segment.build import (
    CLASSIFIED,
    RECOGNISED,
    SEGMENTERS,
    SegmenterConfig,
    build_segmenter,
    settings_for,
)
from asr.segment.energy import EnergyConfig, split_energy
from asr.segment.fixed import FixedConfig, split_fixed
from asr.segment.framed import Track
from asr.segment.hybrid import (
    CtcDacConfig,
    CtcHybridConfig,
    DacConfig,
    HybridConfig,
    split_at_pauses,
)
from asr.segment.own import OwnSegments
from asr.segment.shas import PdacConfig, PstrmConfig, PthrConfig, split_probabilities
from asr.segment.sound import Segment, Segmenter, Speech
from asr.segment.vad import VadConfig, split_speech

__all__ = [
    "CLASSIFIED",
    "RECOGNISED",
    "SEGMENTERS",
    "CtcDacConfig",
    "CtcHybridConfig",
    "DacConfig",
    "EnergyConfig",
    "FixedConfig",
    "HybridConfig",
    "OwnSegments",
    "PdacConfig",
    "PstrmConfig",
    "PthrConfig",
    "Segment",
    "Segmenter",
    "SegmenterConfig",
    "Speech",
    "Track",
    "VadConfig",
    "build_segmenter",
    "settings_for",
    "split_at_pauses",
    "split_energy",
    "split_fixed",
    "split_probabilities",
    "split_speech",
]
