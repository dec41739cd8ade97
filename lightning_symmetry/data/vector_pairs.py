"""Pairs of vectors in five dimensions with an invariant target."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.data.base import KnownFunction
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry

# Of the raw target under the standard normal law (by quadrature over |r|).
TARGET_MEAN, TARGET_STD = -5.704757, 6.193464


@final
class VectorPairs(KnownFunction):
    r"""Two vectors of five dimensions and a number that does not turn with them, scaled to mean 0 and variance 1.

    .. math:: y = \sin |r_1| - \tfrac12 |r_2|^3 + \frac{r_1 \cdot r_2}{|r_1| |r_2|}

    Input (B, 10) is r1 then r2, standard normal, so that the root mean square of the components of each is 1; target
    (B, 1).

    Args:
        samples: Of the training part.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64.

    Raises:
        InvalidSetting: There is nothing to train on.

    Reference:
        Finzi et al., A practical method for constructing equivariant multilayer perceptrons, ICML 2021: the task.

    Example:
        >>> VectorPairs().truth().sentence
        'O(5) on vector(5) -> scalar'
    """

    def truth(self) -> Symmetry:
        """Give O(5) on both vectors."""
        return Symmetry.parse("O(5) on vector(5) -> scalar")

    def target(self, x: Tensor) -> Tensor:
        """Evaluate the target: (B, 10) -> (B, 1)."""
        a, b = x[:, :5], x[:, 5:]
        long, wide = (r.norm(dim=1, keepdim=True) for r in (a, b))
        y = long.sin() - wide**3 / 2 + (a * b).sum(1, keepdim=True) / (long * wide)
        return (y - TARGET_MEAN) / TARGET_STD

    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw inputs, (rows, 10), float64."""
        return rng.normal(rows, 10, dtype=torch.float64)
