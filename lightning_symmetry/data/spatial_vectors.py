"""Pairs of vectors of space with a vector-valued target: rotations leave the task alone."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.data.base import SPLITS, KnownSymmetry, Pairs
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry

# Root mean square of a component of the raw target under the standard normal law (by quadrature over |q|).
TARGET_STD = 2.296621


@final
class SpatialVectors(KnownSymmetry):
    r"""Two vectors q, p of space and a vector that turns with them, scaled to variance 1.

    .. math:: y = |q|\,p + (q \cdot p)\,q / (1 + |q|) + \tfrac12\, q \times p

    Input (B, 6) is q then p, both standard normal; target (B, 3). Rotating q and p rotates y.

    Args:
        samples: Of the training part.
        batch_size: Samples a step.
        seed: Of everything drawn.

    Raises:
        InvalidSetting: There is nothing to train on.

    Example:
        >>> SpatialVectors().truth().sentence
        'SO(3) on vector(3) -> vector(3)'
    """

    def __init__(self, samples: int = 4000, batch_size: int = 128, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        if samples < 1:
            raise InvalidSetting(got=f"samples={samples}", expected="at least 1", remedy="The default is 4000.")
        self.samples = samples

    def truth(self) -> Symmetry:
        """Give SO(3)."""
        return Symmetry.parse("SO(3) on vector(3) -> vector(3)")

    def target(self, x: Tensor) -> Tensor:
        """Evaluate the target: (B, 6) -> (B, 3)."""
        q, p = x[:, :3], x[:, 3:]
        length = q.norm(dim=-1, keepdim=True)
        y = length * p + (q * p).sum(-1, keepdim=True) * q / (1 + length) + 0.5 * torch.linalg.cross(q, p)
        return y / TARGET_STD

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Draw the three parts; validation and test hold 2000 samples."""
        parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}
        for counter, split in enumerate(SPLITS):
            x = Rng(self.seed, counter).normal(self.samples if split == "train" else 2000, 6)
            parts[split] = Pairs(x, self.target(x))
        return parts
