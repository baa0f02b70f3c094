"""Only the frames in which a recogniser writes: what a text encoder's states have a counterpart in.

CTC writes a label in few of the frames of speech and blanks in all others. Left out, as many states remain as the text
has labels, or nearly (Gaido et al. 2021, "CTC-based compression for direct speech translation"; Tsiamas et al. 2024).
"""

from __future__ import annotations

from torch import Tensor

from asr.features import frame_mask
from asr.model import Emissions


def written_frames(
    states: Tensor, num_frames: Tensor, emissions: Emissions, blank: int
) -> tuple[Tensor, Tensor]:
    """The states of the frames whose likeliest label is no blank, in their order; all, where that is none.

    Args:
        states: of the encoder, (N, T, D).
        num_frames: (N,).
        emissions: of the same frames; where there are several for each frame, one that writes is enough.
        blank: the label that writes nothing.
    Returns:
        states (N, T', D), zero where they are padding, and how many are real, (N,).
    """
    size = states.shape[1]
    labels = emissions.values.detach().argmax(dim=2)  # (N, T * emissions for each frame)
    real = frame_mask(num_frames, size)
    writes = (labels.view(len(labels), size, -1) != blank).any(dim=2) & real
    # Silence, and a recogniser that has learned nothing yet.
    writes = writes | (real & ~writes.any(dim=1, keepdim=True))
    counts = writes.sum(dim=1)
    order = writes.logical_not().byte().argsort(dim=1, stable=True)[:, : int(counts.max())]
    kept = states.gather(1, order[..., None].expand(-1, -1, states.shape[2]))
    return kept * frame_mask(counts, kept.shape[1])[..., None], counts
