"""Oscillators: fields of the plane whose solutions run into a cycle, with a symmetry and without."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.data.base import KnownFunction
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry

KINDS = ("hopf", "van_der_pol")


@final
class LimitCycle(KnownFunction):
    r"""States of an oscillator and how fast they change, :math:`\dot p = F(p)`.

    The normal form of the Hopf bifurcation, :math:`F = (1 - |p|^2) p + J p` with the quarter turn J, turns with the
    state. The oscillator of van der Pol, :math:`F = (y, (1 - x^2) y - x)`, has a cycle too, and no symmetry: it is the
    control. Every field commutes with itself, which is no symmetry to be found. Input and target (B, 2); states are
    uniform in a disc.

    Args:
        kind: "hopf" or "van_der_pol".
        samples: Of the training part.
        radius: Of the disc; both cycles lie within 2.7.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64.

    Raises:
        InvalidSetting: A setting makes no sense.

    Example:
        >>> LimitCycle().truth().sentence, LimitCycle("van_der_pol").truth()
        ('SO(2) on points -> velocity', None)
    """

    def __init__(
        self,
        kind: str = "hopf",
        samples: int = 4000,
        radius: float = 2.0,
        batch_size: int = 128,
        seed: int = 0,
        double: bool = False,
    ) -> None:
        super().__init__(samples, batch_size, seed, double)
        if kind not in KINDS or radius <= 0:
            raise InvalidSetting(
                got=f"kind={kind!r}, radius={radius}",
                expected=f"one of {', '.join(KINDS)}, and radius > 0",
                remedy="The defaults are 'hopf' and 2.",
            )
        self.kind, self.radius = kind, radius

    def truth(self) -> Symmetry | None:
        """Give the rotations of state and velocity together, or None for the control."""
        return Symmetry.parse("SO(2) on points -> velocity") if self.kind == "hopf" else None

    def target(self, x: Tensor) -> Tensor:
        """Evaluate the field: (B, 2) -> (B, 2)."""
        a, b = x.unbind(-1)
        if self.kind == "hopf":
            growth = 1 - a * a - b * b
            return torch.stack((growth * a - b, growth * b + a), -1)
        return torch.stack((b, (1 - a * a) * b - a), -1)

    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw states, (rows, 2), float64."""
        length = self.radius * rng.uniform(rows, 1, dtype=torch.float64).sqrt()
        angle = 2 * math.pi * rng.uniform(rows, dtype=torch.float64)
        return length * torch.stack((angle.cos(), angle.sin()), 1)
