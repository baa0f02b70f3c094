"""Codes that k-means finds: the groups that are there, and the same ones again."""

from __future__ import annotations

import pytest
import torch

from asr.pretrain.quantizer import CentroidQuantizer
from lm.errors import InputError


def groups(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames around four places that lie far apart, in no order, and the place of each."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(4, (400,), generator=generator)
    places = 10 * torch.eye(4, 6)
    return places[which] + 0.1 * torch.randn(400, 6, generator=generator), which


def test_every_group_gets_codes_of_its_own() -> None:
    features, which = groups()
    quantizer = CentroidQuantizer(6, num_codes=12)
    assert not quantizer.fitted
    quantizer.fit(features)
    assert quantizer.fitted
    codes = quantizer(features)
    for code in codes.unique():
        assert len(which[codes == code].unique()) == 1
    # Every frame's code is that of the nearest centroid, and every centroid in use the mean of its frames.
    assert torch.equal(codes, torch.cdist(features, quantizer.centroids).argmin(dim=1))
    for code in codes.unique():
        assert torch.allclose(quantizer.centroids[code], features[codes == code].mean(dim=0), atol=1e-5)


def test_the_same_frames_give_the_same_codes() -> None:
    features, _ = groups()
    one, other = CentroidQuantizer(6, num_codes=12), CentroidQuantizer(6, num_codes=12)
    one.fit(features)
    other.fit(features)
    assert torch.equal(one.centroids, other.centroids)


def test_more_codes_than_frames_are_refused() -> None:
    with pytest.raises(InputError, match=r"num_codes is 12, and there are 5 frames"):
        CentroidQuantizer(6, num_codes=12).fit(torch.randn(5, 6))
