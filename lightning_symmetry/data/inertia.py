"""The moment of inertia of five bodies, with a term that prefers an axis: only rotations about it are left."""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_symmetry.data.base import KnownFunction
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry

BODIES = 5
_SIDES = "tensors('5x0 + 5x1') -> tensors('1x2')"


@final
class Inertia(KnownFunction):
    r"""Five masses m, five positions r of space, and their inertia with one column scaled.

    .. math:: I = \sum_i m_i (|r_i|^2 1 - r_i r_i^T), \qquad Y = I + \text{noise}\ I e_a e_a^T

    Input (B, 20) is the masses, softplus of a normal number, then the positions, standard normal; target (B, 9) is Y
    row by row: ``tensors('5x0 + 5x1') -> tensors('1x2')``. Rotations about the axis a and mirrors that contain it keep
    it exactly; rotations about the two other axes are broken, by the more the larger the noise is.

    Args:
        axis: The axis a; None scales nothing, so that all rotations and mirrors are left; "mixed" is the published mix
            of two axes, :math:`Y = I + \text{noise}\ I (e_y e_y^T - e_x e_x^T)`, which leaves none of the rotations.
        noise: How strongly; -1 makes the column vanish, 0 is the same as no axis.
        samples: Of the training part; validation and test hold 1000.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64.

    Raises:
        InvalidSetting: The axis is unknown, or there is nothing to train on.

    References:
        Kim et al., Regularizing Towards Soft Equivariance Under Mixed Symmetries, ICML 2023, arXiv 2306.00356.

    Example:
        >>> Inertia("x").truth().group.sentence, Inertia(None).truth().group.sentence, Inertia("mixed").truth()
        ('about(x, mirrors=True)', 'O(3)', None)
    """

    held_out: ClassVar[int] = 1000

    def __init__(
        self,
        axis: Literal["x", "y", "z", "mixed"] | None = "z",
        noise: float = -1.0,
        samples: int = 1000,
        batch_size: int = 500,
        seed: int = 0,
        double: bool = False,
    ) -> None:
        super().__init__(samples, batch_size, seed, double)
        if axis not in ("x", "y", "z", "mixed", None):
            raise InvalidSetting(f"axis={axis!r}", '"x", "y", "z", "mixed" or None', "The default is z.")
        self.axis, self.noise = axis if noise else None, float(noise)
        scaled = {"x": [1, 0, 0], "y": [0, 1, 0], "z": [0, 0, 1], "mixed": [-1, 1, 0], None: [0, 0, 0]}[self.axis]
        self.factors = 1 + self.noise * torch.tensor(scaled, dtype=torch.float64)

    def truth(self) -> Symmetry | None:
        """Give the rotations about the axis and the mirrors that contain it; O(3) without an axis, None if mixed."""
        if self.axis == "mixed":
            return None
        group = "O(3)" if self.axis is None else f"about({self.axis}, mirrors=True)"
        return Symmetry.parse(f"{group} on {_SIDES}", name="inertia")

    def target(self, x: Tensor) -> Tensor:
        """Evaluate Y: (B, 20) -> (B, 9)."""
        mass, place = x[:, :BODIES], x[:, BODIES:].unflatten(1, (BODIES, 3))
        spread = torch.einsum("bn,bni,bnj->bij", mass, place, place)
        inertia = spread.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] * torch.eye(3).to(x) - spread
        return (inertia * self.factors.to(x)).flatten(1)

    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw inputs, (rows, 20), float64."""
        x = rng.normal(rows, 4 * BODIES, dtype=torch.float64)
        return torch.cat((F.softplus(x[:, :BODIES]), x[:, BODIES:]), 1)
