"""Pairs of vectors of the plane with a vector-valued target: rotations leave the task alone."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.data.base import KnownSymmetry, Pairs
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Given
from lightning_symmetry.symmetry import Symmetry

# Root mean square of a component of the raw target under the standard normal law (by quadrature over |q|).
TARGET_STD = 1.916237


@final
class PlanarVectors(KnownSymmetry):
    r"""Two vectors q, p of the plane and a vector that turns with them, scaled to variance 1.

    .. math:: y = |q|\,p + (q \cdot p)\,q / (1 + |q|)

    Input (B, 4) is q then p, both standard normal; target (B, 2). Rotating q and p rotates y. With ``stretch`` s,
    inputs and target are carried by D = diag(1, s), so that the group is D SO(2) D^-1, whose orbits are ellipses.

    Args:
        samples: Of the training part.
        sector_degrees: Half-width of the sector around the first axis that q is confined to in training and validation;
            180 is the whole plane. The test part always covers the whole plane.
        stretch: s, larger than 0.
        batch_size: Samples a step.
        seed: Of everything drawn.

    Raises:
        InvalidSetting: A number lies outside its range.

    Example:
        >>> PlanarVectors().truth().sentence
        'SO(2) on vector(2) -> vector(2)'
    """

    def __init__(
        self,
        samples: int = 4000,
        sector_degrees: float = 180.0,
        stretch: float = 1.0,
        batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        if samples < 1 or not 0 < sector_degrees <= 180 or stretch <= 0:
            raise InvalidSetting(
                got=f"samples={samples}, sector_degrees={sector_degrees}, stretch={stretch}",
                expected="samples >= 1, 0 < sector_degrees <= 180, stretch > 0",
                remedy="The defaults are 4000, 180 and 1.",
            )
        self.samples, self.sector_degrees, self.stretch = samples, sector_degrees, stretch

    def truth(self) -> Symmetry:
        """Give SO(2), or its conjugate by the stretch."""
        if self.stretch == 1:
            return Symmetry.parse("SO(2) on vector(2) -> vector(2)")
        basis = [[[0.0, -1 / self.stretch], [self.stretch, 0.0]]]
        return Symmetry(Given(basis), "vector(2)", "vector(2)", name="stretched_rotation")

    def target(self, x: Tensor) -> Tensor:
        """Evaluate the target: (B, 4) -> (B, 2)."""
        stretch = x.new_tensor([1.0, self.stretch])
        q, p = x[:, :2] / stretch, x[:, 2:] / stretch
        length = q.norm(dim=-1, keepdim=True)
        y = length * p + (q * p).sum(-1, keepdim=True) * q / (1 + length)
        return y * stretch / TARGET_STD

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Draw the three parts; validation and test hold 2000 samples."""
        sectors = {"train": self.sector_degrees, "val": self.sector_degrees, "test": 180.0}
        sizes = {"train": self.samples, "val": 2000, "test": 2000}
        parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}
        for counter, (split, sector) in enumerate(sectors.items()):
            x = self._draw(Rng(self.seed, counter), sizes[split], sector)
            parts[split] = Pairs(x, self.target(x))
        return parts

    def _draw(self, rng: Rng, rows: int, sector: float) -> Tensor:
        q, p = rng.normal(rows, 2), rng.normal(rows, 2)
        angle = (2 * rng.uniform(rows) - 1) * math.radians(sector)
        # the angle of a normal vector is independent of its length, so replacing it keeps the law of the length
        q = q.norm(dim=-1, keepdim=True) * torch.stack((angle.cos(), angle.sin()), -1)
        return torch.cat((q, p), -1) * q.new_tensor([1.0, self.stretch]).repeat(2)
