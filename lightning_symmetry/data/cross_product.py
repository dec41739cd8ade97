"""The cross product: a vector of two vectors, with more symmetries than rotations."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.data.base import KnownFunction
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import GL, SL, Given
from lightning_symmetry.symmetry import Symmetry


@final
class CrossProduct(KnownFunction):
    r"""Two vectors a, b of space and their cross product, :math:`y = a \times b`.

    Input (B, 6) is a then b, standard normal; target (B, 3). Any invertible matrix M of space turns the product by its
    cofactors, :math:`Ma \times Mb = \det(M) M^{-T} (a \times b)`, and mixing a and b by a matrix of determinant 1 does
    not change it: 9 + 3 generators, where rotations are only 3.

    Args:
        samples: Of the training part.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64.

    Raises:
        InvalidSetting: There is nothing to train on.

    Example:
        >>> CrossProduct().truth().group.count
        12
    """

    def truth(self) -> Symmetry:
        """Give GL(3) on both vectors, and SL(2) on the pair; the output moves by tr(A) - A^T, and by nothing."""
        stretches, mixtures = GL(3).basis().double(), SL(2).basis().double()
        both = [torch.block_diag(a, a) for a in stretches] + [torch.kron(m, torch.eye(3).double()) for m in mixtures]
        symmetry = Symmetry(Given(torch.stack(both), affine=False), "vector", "learned", name="cross_product")
        trace = torch.einsum("kii->k", stretches)[:, None, None] * torch.eye(3).double()
        return self.answering(symmetry, torch.cat((trace - stretches.mT, stretches.new_zeros(3, 3, 3))))

    def target(self, x: Tensor) -> Tensor:
        """Multiply: (B, 6) -> (B, 3)."""
        return torch.linalg.cross(x[:, :3], x[:, 3:])

    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw inputs, (rows, 6), float64."""
        return rng.normal(rows, 6, dtype=torch.float64)
