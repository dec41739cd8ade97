"""Four-momenta of two particles: what colliders measure does not depend on the observer's speed."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.data.base import KnownFunction
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry


@final
class FourMomenta(KnownFunction):
    r"""Two four-momenta on the mass shell, and their invariants :math:`(p_1^2, p_2^2, p_1 \cdot p_2)`.

    Input (B, 8) is (E, px, py, pz) of either particle, in natural units: masses uniform in [0.5, 1.5], momenta standard
    normal, :math:`E^2 = m^2 + |p|^2`. Target (B, 3), with products of the metric (+, -, -, -).

    Args:
        samples: Of the training part.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64.

    Raises:
        InvalidSetting: There is nothing to train on.

    Example:
        >>> FourMomenta().truth().sentence
        'lorentz(4) on vector(4) -> scalar'
    """

    def truth(self) -> Symmetry:
        """Give the Lorentz group on both momenta."""
        return Symmetry.parse("lorentz(4) on vector(4) -> scalar")

    def target(self, x: Tensor) -> Tensor:
        """Evaluate the invariants: (B, 8) -> (B, 3)."""
        p, q = x[:, :4], x[:, 4:]
        metric = x.new_tensor([1.0, -1.0, -1.0, -1.0])
        return torch.stack([(a * metric * b).sum(1) for a, b in ((p, p), (q, q), (p, q))], 1)

    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw inputs, (rows, 8), float64."""
        mass = 0.5 + rng.uniform(rows, 2, 1, dtype=torch.float64)
        momentum = rng.normal(rows, 2, 3, dtype=torch.float64)
        energy = (mass.square() + momentum.square().sum(-1, keepdim=True)).sqrt()
        return torch.cat((energy, momentum), -1).flatten(1)
