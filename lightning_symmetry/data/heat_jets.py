"""Solutions of the heat equation, point by point: place, value and derivatives."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions import Jet
from lightning_symmetry.data.base import KnownEquation
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.polynomials import list_monomials
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import PolynomialField
from lightning_symmetry.symmetry import Symmetry


@final
class HeatJets(KnownEquation):
    r"""Points of random solutions of the heat equation :math:`u_t = \kappa u_{xx}`.

    .. math:: u = \sum_j a_j e^{-\kappa k_j^2 t} \cos(k_j x + \varphi_j)

    Every sample is a point (t, x) in [0, 1] x [-3, 3] of a solution of its own, with a_j normal and k_j uniform in
    [0.5, 2]. Input (B, 8) is the columns t, x, u and all derivatives up to the second; target (B, 1) the rate
    :math:`\kappa u_{xx}`, which is u_t at solutions. Of the vector fields of degree 2 or less eight are symmetries.

    Args:
        samples: Of the training part.
        diffusivity: kappa, larger than 0.
        waves: Number of terms of a solution.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64.

    Raises:
        InvalidSetting: A setting makes no sense.

    Example:
        >>> HeatJets().jet.columns
        ('t', 'x', 'u', 'u_t', 'u_x', 'u_tt', 'u_tx', 'u_xx')
    """

    def __init__(
        self,
        samples: int = 4000,
        diffusivity: float = 0.3,
        waves: int = 4,
        batch_size: int = 128,
        seed: int = 0,
        double: bool = False,
    ) -> None:
        super().__init__(samples, batch_size, seed, double)
        if diffusivity <= 0 or waves < 1:
            raise InvalidSetting(
                got=f"diffusivity={diffusivity}, waves={waves}",
                expected="diffusivity > 0 and waves >= 1",
                remedy="The defaults are 0.3 and 4.",
            )
        self.diffusivity, self.waves = diffusivity, waves

    reads = "u u_x u_xx"

    @property
    def jet(self) -> Jet:
        """How a group of (t, x, u) moves the columns."""
        return Jet("t x", "u", 2)

    def truth(self) -> Symmetry:
        """Give the eight symmetries of degree 2 or less: two shifts, two scalings, a boost, and three solutions.

        d/dt; d/dx; u d/du; x d/dx + 2 t d/dt; 2 kappa t d/dx - x u d/du; d/du; x d/du; (x^2 + 2 kappa t) d/du.
        """
        twice = 2 * self.diffusivity
        fields: list[list[tuple[str, tuple[int, ...], float]]] = [
            [("t", (), 1.0)],
            [("x", (), 1.0)],
            [("u", (2,), 1.0)],
            [("x", (1,), 1.0), ("t", (0,), 2.0)],
            [("x", (0,), twice), ("u", (1, 2), -1.0)],
            [("u", (), 1.0)],
            [("u", (1,), 1.0)],
            [("u", (1, 1), 1.0), ("u", (0,), twice)],
        ]
        names = list_monomials(3, 2)
        numbers = torch.zeros(len(fields), 3, len(names), dtype=torch.float64)
        for k, terms in enumerate(fields):
            for axis, factors, value in terms:
                numbers[k, "txu".index(axis), names.index(factors)] = value
        return Symmetry(PolynomialField(2, coefficients=numbers, radius=None), self.jet, "scalar", name="heat")

    def target(self, x: Tensor) -> Tensor:
        """Give the rate kappa u_xx: (B, 8) -> (B, 1)."""
        return self.diffusivity * self.jet.pick(x, "u_xx")

    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw points of solutions, (rows, 8), float64."""
        place = rng.uniform(rows, 2, dtype=torch.float64) * torch.tensor([1.0, 6.0]) - torch.tensor([0.0, 3.0])
        size = rng.normal(rows, self.waves, dtype=torch.float64) / math.sqrt(self.waves)
        k = 0.5 + 1.5 * rng.uniform(rows, self.waves, dtype=torch.float64)
        return self.solve(place, size, k, 2 * math.pi * rng.uniform(rows, self.waves, dtype=torch.float64))

    def solve(self, place: Tensor, size: Tensor, k: Tensor, phase: Tensor) -> Tensor:
        """Evaluate sums of waves and their derivatives.

        Args:
            place: (B, 2), t and x.
            size: (B, W), a_j at t = 0.
            k: (B, W) wave numbers, radians a unit of x.
            phase: (B, W) radians.

        Returns:
            (B, 8) columns.
        """
        t, x = place[:, :1], place[:, 1:]
        rate = -self.diffusivity * k * k
        columns = [t, x]
        for name in self.jet.columns[2:]:
            by_t, by_x = name[1:].count("t"), name[1:].count("x")
            wave = rate**by_t * k**by_x * (k * x + phase + by_x * math.pi / 2).cos()
            columns.append((size * (rate * t).exp() * wave).sum(1, keepdim=True))
        return torch.cat(columns, 1)
