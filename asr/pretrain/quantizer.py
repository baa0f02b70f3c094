"""Codes for speech frames: learned with a Gumbel softmax, fixed at random, or found by k-means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm.errors import InputError


@dataclass(frozen=True)
class Quantized:
    """Codes of a set of frames."""

    vectors: Tensor
    """Code vectors, the groups side by side, (K, D)."""
    codes: Tensor
    """Index in each group's codebook, (K, G)."""
    probabilities: Tensor
    """Mean probability of each code, (G, V); of the choices themselves when not training."""

    @property
    def perplexity(self) -> Tensor:
        """Codes in use, ``sum_g exp(H(p_g))``, a scalar between G and G V."""
        entropy = -(self.probabilities * (self.probabilities + 1e-7).log()).sum(dim=-1)
        return entropy.exp().sum()

    def diversity_loss(self) -> Tensor:
        """Share of the codes that go unused (Baevski et al. 2020, eq. 4, as fairseq scales it)."""
        size = self.probabilities.numel()
        return (size - self.perplexity) / size


class GumbelQuantizer(nn.Module):
    """Product quantiser with straight-through Gumbel choices (Baevski et al. 2020, sec. 2).

    Args:
        in_width: size F of a feature vector.
        num_groups: codebooks G.
        num_codes: codes V in each.
        width: size D of a quantised vector, all groups together.
    """

    def __init__(self, in_width: int, *, num_groups: int = 2, num_codes: int = 320, width: int = 256) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.num_codes = num_codes
        self.temperature = 2.0
        """Of the Gumbel softmax; the task lowers it as training goes on."""
        self.weight_proj = nn.Linear(in_width, num_groups * num_codes)
        self.codevectors = nn.Parameter(torch.empty(1, num_groups * num_codes, width // num_groups))
        nn.init.normal_(self.weight_proj.weight, mean=0, std=1)
        nn.init.zeros_(self.weight_proj.bias)
        nn.init.uniform_(self.codevectors)

    def forward(self, features: Tensor) -> Quantized:
        """Quantise frames, (K, F); padded frames must not be among them."""
        logits = self.weight_proj(features).float()
        logits = logits.reshape(-1, self.num_groups, self.num_codes)  # (K, G, V)
        if self.training:
            chosen = F.gumbel_softmax(logits, tau=self.temperature, hard=True)
            probabilities = logits.softmax(dim=-1).mean(dim=0)
        else:
            chosen = F.one_hot(logits.argmax(dim=-1), self.num_codes).to(logits.dtype)
            probabilities = chosen.mean(dim=0)
        books = self.codevectors.reshape(self.num_groups, self.num_codes, -1)  # (G, V, D/G)
        vectors = torch.einsum("kgv,gvd->kgd", chosen, books.to(chosen.dtype)).flatten(1)
        return Quantized(vectors, chosen.argmax(dim=-1), probabilities)


class RandomQuantizer(nn.Module):
    """Nearest of random unit vectors to a random projection; nothing of it learns (Chiu et al. 2022, BEST-RQ).

    Args:
        in_width: size F of a feature vector.
        num_codes: codes V.
        code_width: size of the projection.
        seed: of the projection and the codebook; they are saved with the weights too.
    """

    projection: Tensor
    codebook: Tensor

    def __init__(self, in_width: int, *, num_codes: int = 1024, code_width: int = 16, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        limit = math.sqrt(6 / (in_width + code_width))  # Xavier, as in the paper
        projection = (torch.rand(in_width, code_width, generator=generator) * 2 - 1) * limit
        codebook = torch.randn(num_codes, code_width, generator=generator)
        self.register_buffer("projection", projection)
        self.register_buffer("codebook", F.normalize(codebook, dim=-1))

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """Code of each frame, (..., F) -> (...)."""
        # Float32: neighbours among a thousand codes lie closer than 16 bits can tell.
        with torch.autocast(features.device.type, enabled=False):
            projected = F.normalize(features.float() @ self.projection, dim=-1)
            # The nearest of unit vectors is the one with the greatest product.
            return (projected @ self.codebook.T).argmax(dim=-1)


class CentroidQuantizer(nn.Module):
    """Nearest of the centroids that k-means found before training (Hsu et al. 2021, HuBERT's first iteration).

    Args:
        in_width: size F of a feature vector.
        num_codes: centroids V.
    """

    centroids: Tensor
    fitted: Tensor

    def __init__(self, in_width: int, *, num_codes: int = 100) -> None:
        super().__init__()
        self.register_buffer("centroids", torch.zeros(num_codes, in_width))
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(self, features: Tensor, *, rounds: int = 20, seed: int = 0) -> None:
        """Lloyd's rounds from frames drawn at random; a centroid that loses all its frames stays where it was.

        Args:
            features: (K, F).
        Raises:
            InputError: there are fewer frames than centroids.
        """
        num_codes = len(self.centroids)
        if len(features) < num_codes:
            raise InputError(
                f"objective.num_codes is {num_codes}, and there are {len(features)} frames of audio to find them in. "
                "Set it lower."
            )
        drawn = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:num_codes]
        self.centroids.copy_(features[drawn])
        for _ in range(rounds):
            codes = self(features)
            sums = torch.zeros_like(self.centroids).index_add_(0, codes, features)
            counts = codes.bincount(minlength=num_codes)[:, None]
            self.centroids.copy_(torch.where(counts > 0, sums / counts.clamp(min=1), self.centroids))
        self.fitted.fill_(True)

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """Code of each frame, (..., F) -> (...)."""
        with torch.autocast(features.device.type, enabled=False):
            # Half the squared distance, less what is the same for all centroids.
            nearness = features.float() @ self.centroids.T - self.centroids.square().sum(dim=-1) / 2
            return nearness.argmax(dim=-1)
