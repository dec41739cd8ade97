"""Pairs of vectors of the plane with a target that no linear symmetry leaves alone."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.data.base import SPLITS, KnownSymmetry, Pairs
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry


@final
class BrokenVectors(KnownSymmetry):
    r"""Two vectors q, p of the plane and :math:`y = (\sin 2q_1 + q_2 p_1,\ \tanh 1.5 p_2 - 0.7 |q_1| + 0.5 p_1^2)`.

    Input (B, 4) is q then p, both standard normal; target (B, 2). Whoever finds a symmetry here has made it up.

    Args:
        samples: Of the training part.
        batch_size: Samples a step.
        seed: Of everything drawn.

    Raises:
        InvalidSetting: There is nothing to train on.

    Example:
        >>> BrokenVectors().truth() is None
        True
    """

    def __init__(self, samples: int = 4000, batch_size: int = 128, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        if samples < 1:
            raise InvalidSetting(got=f"samples={samples}", expected="at least 1", remedy="The default is 4000.")
        self.samples = samples

    def truth(self) -> Symmetry | None:
        """Give None: there is none."""
        return None

    def target(self, x: Tensor) -> Tensor:
        """Evaluate the target: (B, 4) -> (B, 2)."""
        q1, q2, p1, p2 = x.unbind(-1)
        return torch.stack(((2 * q1).sin() + q2 * p1, (1.5 * p2).tanh() - 0.7 * q1.abs() + 0.5 * p1**2), -1)

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Draw the three parts; validation and test hold 2000 samples."""
        parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}
        for counter, split in enumerate(SPLITS):
            x = Rng(self.seed, counter).normal(self.samples if split == "train" else 2000, 4)
            parts[split] = Pairs(x, self.target(x))
        return parts
