"""The forces of two bodies of the plane on each other: what rotation and scaling do to them, and what does nothing."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.data.base import KnownFunction
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Given
from lightning_symmetry.symmetry import Symmetry

NEAREST, FARTHEST = 0.5, 1.5


@final
class TwoBodyForces(KnownFunction):
    r"""Where two bodies of mass 1 are, and how gravity accelerates them: :math:`a_1 = r / |r|^3 = -a_2, r = q_2 - q_1`.

    Input (B, 4) is q1 then q2, target (B, 4) their accelerations. The distance is uniform in [0.5, 1.5], its direction
    too, and the middle is standard normal. Ten linear generators leave the task alone: eight move both bodies by the
    same vector, which no force notices; the other two are the rotation, and the scaling, which divides forces by the
    square of the distance. Forces are opposite to each other: another eight matrices of the output vanish on them, so
    that a rotation of the input may be answered by many matrices.

    Args:
        samples: Of the training part.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64.

    Raises:
        InvalidSetting: There is nothing to train on.

    Example:
        >>> TwoBodyForces().truth().group.count
        10
    """

    def truth(self) -> Symmetry:
        """Give rotation, scaling, and the eight common movements; the output turns, shrinks, and stays."""
        eye, turn = torch.eye(2).double(), torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double()
        common = torch.zeros(2, 4, 4, 4, dtype=torch.float64)
        for axis in range(2):
            for source in range(4):
                common[axis, source, [axis, axis + 2], source] = 1
        turning, scaling = torch.block_diag(turn, turn), torch.eye(4).double()
        basis = torch.cat((torch.stack((turning, scaling)), common.flatten(0, 1)))
        symmetry = Symmetry(Given(basis, affine=False), "vector", "learned", name="two_body_forces")
        answers = torch.cat(
            (
                torch.stack((torch.kron(torch.eye(2).double(), turn), -2 * torch.kron(eye, eye))),
                basis.new_zeros(8, 4, 4),
            )
        )
        return self.answering(symmetry, answers)

    def target(self, x: Tensor) -> Tensor:
        """Accelerate: (B, 4) -> (B, 4)."""
        apart = x[:, 2:] - x[:, :2]
        pull = apart / apart.norm(dim=1, keepdim=True) ** 3
        return torch.cat((pull, -pull), 1)

    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw inputs, (rows, 4), float64."""
        distance = NEAREST + (FARTHEST - NEAREST) * rng.uniform(rows, 1, dtype=torch.float64)
        angle = 2 * math.pi * rng.uniform(rows, dtype=torch.float64)
        half = distance / 2 * torch.stack((angle.cos(), angle.sin()), 1)
        middle = rng.normal(rows, 2, dtype=torch.float64)
        return torch.cat((middle - half, middle + half), 1)
