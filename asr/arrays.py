"""Arrays as they pass between modules, by name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
"""Waveforms, features, emissions."""
IntArray = NDArray[np.int32]
"""Labels."""
