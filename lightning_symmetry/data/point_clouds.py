"""Clouds of points with a vector that turns with them: rotations of space leave the task alone."""

from __future__ import annotations

import math
from typing import final

from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.data.base import SPLITS, KnownSymmetry, Pairs
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry


@final
class PointClouds(KnownSymmetry):
    r"""N points of space about their centre, and the side on which the far ones lie.

    .. math:: y = \frac{1}{N s} \sum_i |x_i|^2 x_i, \qquad s^2 = 10 (N - 1)(N - 2) / N^3

    Input (B, N, 3), standard normal points less their mean; target (B, 3), of variance 1. The order of the points does
    not matter, and rotating them rotates y. Every cloud is centred: the data say nothing of translations, so that a
    group to be learnt is best told not to translate.

    Args:
        samples: Of the training part.
        points: N, at least 3.
        batch_size: Samples a step.
        seed: Of everything drawn.

    Raises:
        InvalidSetting: There is nothing to train on, or a cloud of two points, which has no side.

    Example:
        >>> PointClouds().truth().sentence
        'SO(3) on points -> vector'
    """

    def __init__(self, samples: int = 4000, points: int = 12, batch_size: int = 128, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        if samples < 1 or points < 3:
            raise InvalidSetting(
                got=f"samples={samples}, points={points}",
                expected="samples >= 1, points >= 3",
                remedy="The defaults are 4000 and 12.",
            )
        self.samples, self.points = samples, points

    def truth(self) -> Symmetry:
        """Give SO(3)."""
        return Symmetry.parse("SO(3) on points -> vector")

    def target(self, x: Tensor) -> Tensor:
        """Evaluate the target: (B, N, 3) -> (B, 3)."""
        n = self.points
        # the variance of the third sample moments of a normal law
        std = math.sqrt(10 * (n - 1) * (n - 2) / n**3)
        return (x.square().sum(-1, keepdim=True) * x).mean(1) / std

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Draw the three parts; validation and test hold 2000 samples."""
        parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}
        for counter, split in enumerate(SPLITS):
            rows = self.samples if split == "train" else 2000
            x = Rng(self.seed, counter).normal(rows, self.points, 3)
            x = x - x.mean(1, keepdim=True)
            parts[split] = Pairs(x, self.target(x))
        return parts
