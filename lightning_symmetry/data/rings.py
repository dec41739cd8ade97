"""Points on three rings around the origin: which ring it is does not change when the plane turns."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.data.base import SPLITS, KnownSymmetry, Pairs
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry

RADII = (0.5, 1.5, 2.5)
JITTER = 0.3


@final
class Rings(KnownSymmetry):
    """On which of three rings does a point lie? Turning the plane keeps the answer, shifting and scaling do not.

    Input (B, 2): the radius is 0.5, 1.5 or 2.5, up to +-0.3, uniformly. Target (B,): 0, 1 or 2. In training and
    validation the angle is uniform in +- sector, in the test it is any angle: who does not know the symmetry fails
    there.

    Args:
        sector: Degrees of the training and validation parts; None for all angles.
        samples: Points to train on; 500 validate and 2000 test.
        batch_size: Samples a step.
        seed: Of everything drawn.

    Raises:
        InvalidSetting: A number lies outside its range.

    Example:
        >>> Rings(sector=45).truth().sentence
        'SO(2) on vector(2) -> label'
    """

    def __init__(self, sector: float | None = None, samples: int = 1000, batch_size: int = 128, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        self.sector = 180.0 if sector is None else float(sector)
        if not 0 <= self.sector <= 180 or samples < 1:
            raise InvalidSetting(
                got=f"sector={sector}, samples={samples}",
                expected="0 <= sector <= 180 degrees and at least one sample",
                remedy="The defaults are None, which is all angles, and 1000.",
            )
        self.samples = samples

    def truth(self) -> Symmetry:
        """Give SO(2)."""
        return Symmetry.parse("SO(2) on vector(2) -> label")

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Draw the three parts."""
        sizes = dict(zip(SPLITS, (self.samples, 500, 2000), strict=True))
        return {part: self._draw(part, Rng(self.seed, i), size) for i, (part, size) in enumerate(sizes.items())}

    def _draw(self, part: str, rng: Rng, rows: int) -> Pairs:
        labels = rng.integers(len(RADII), rows)
        radius = torch.tensor(RADII)[labels] + JITTER * (2 * rng.uniform(rows) - 1)
        widest = math.radians(180.0 if part == "test" else self.sector)
        angle = widest * (2 * rng.uniform(rows) - 1)
        return Pairs(radius[:, None] * torch.stack((angle.cos(), angle.sin()), 1), labels)
