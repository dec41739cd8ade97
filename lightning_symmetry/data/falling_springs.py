"""Five bodies on springs, thrown in a field of gravity: rotations about its axis stay exact, tilts break with it."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.data.base import KnownFunction
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.rotations import uniform_rotations
from lightning_symmetry.symmetry import Symmetry

# The bodies at rest, heading along x, in lengths of a spring: no two directions are alike.
SHAPE = ((1.2, 0.0, 0.0), (-0.4, 0.8, 0.0), (-0.6, -0.7, 0.3), (0.2, 0.1, 0.9), (-0.5, -0.1, -0.6))
HEADING = (1.5, 0.0, 0.0)
SPREAD = 0.3


@final
class FallingSprings(KnownFunction):
    r"""Five bodies of mass 1, each two of them on a spring of length 1, thrown and falling.

    .. math:: \ddot x_i = k \sum_j (|x_j - x_i| - 1) \frac{x_j - x_i}{|x_j - x_i|} - \gamma e_z

    Input (B, 30) is the five positions, then the five velocities; target (B, 15) the positions a unit of time later, by
    ``steps`` steps of leapfrog: ``vector(3) -> vector(3)``. A body of a certain shape heads in a random direction,
    perturbed by 0.3 in everything. As gravity is uniform, it adds :math:`\tfrac12 \gamma` downwards, whatever the
    springs do, and leapfrog has no error in this: rotations about z are exact, and a tilt by the angle a is missed by

    .. math:: |f(gx) - g f(x)| = \gamma \sin(a / 2)

    a body. Without gravity all rotations are exact.

    Args:
        gravity: The acceleration, in lengths of a spring and units of time.
        sector: Width of the sector of horizontal headings that the training and validation parts are confined to, in
            degrees; the test part has all.
        stiffness: Of the springs, k.
        steps: Of the leapfrog.
        samples: Of the training part.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64.

    Raises:
        InvalidSetting: A number lies outside its range.

    References:
        Han et al., Learning Physical Dynamics with Subequivariant Graph Neural Networks, 2022 (the question).

    Example:
        >>> FallingSprings(1.0).truth().group.sentence, FallingSprings(0.0).truth().group.sentence
        ('about(z, mirrors=True)', 'O(3)')
    """

    def __init__(
        self,
        gravity: float = 1.0,
        sector: float = 360.0,
        stiffness: float = 0.5,
        steps: int = 20,
        samples: int = 2000,
        batch_size: int = 100,
        seed: int = 0,
        double: bool = False,
    ) -> None:
        super().__init__(samples, batch_size, seed, double)
        if gravity < 0 or not 0 < sector <= 360 or stiffness < 0 or steps < 1:
            raise InvalidSetting(
                got=f"gravity={gravity}, sector={sector}, stiffness={stiffness}, steps={steps}",
                expected="gravity and stiffness >= 0, a sector from above 0 to 360 degrees, steps >= 1",
                remedy="The defaults are 1, 360, 0.5 and 20.",
            )
        self.gravity, self.sector, self.stiffness, self.steps = float(gravity), float(sector), float(stiffness), steps

    def truth(self) -> Symmetry:
        """Give the rotations about z and the mirrors that contain it; without gravity all rotations and mirrors."""
        group = "about(z, mirrors=True)" if self.gravity else "O(3)"
        return Symmetry.parse(f"{group} on vector(3) -> vector(3)", name="falling")

    def miss(self, angle: Tensor) -> Tensor:
        """Say how far, a body, a tilt by an angle in radians is from a symmetry: ``gravity sin(|angle| / 2)``."""
        return self.gravity * (angle / 2).sin().abs()

    def target(self, x: Tensor) -> Tensor:
        """Let a unit of time pass: (B, 30) -> (B, 15)."""
        q, v = x.unflatten(1, (2, len(SHAPE), 3)).unbind(1)
        step = 1 / self.steps
        for _ in range(self.steps):
            v = v + step / 2 * self._accelerate(q)
            q = q + step * v
            v = v + step / 2 * self._accelerate(q)
        return q.flatten(1)

    def _accelerate(self, q: Tensor) -> Tensor:
        apart = q[:, None] - q[:, :, None]
        # a body is no distance from itself, which pulls nowhere
        length = apart.norm(dim=-1, keepdim=True) + torch.eye(q.shape[1]).to(q)[..., None]
        down = q.new_tensor((0.0, 0.0, self.gravity))
        return self.stiffness * (apart * (1 - 1 / length)).sum(2) - down

    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw inputs of all headings, (rows, 30), float64."""
        return self._draw(rng, rows, 1.0)

    def draw_part(self, split: str, rng: Rng, rows: int) -> Tensor:
        """Draw the inputs of a part; those of training and validation head into the sector."""
        return self._draw(rng, rows, 1.0 if split == "test" else self.sector / 360)

    def _draw(self, rng: Rng, rows: int, share: float) -> Tensor:
        double = torch.float64
        turn = uniform_rotations(rng.normal(rows, 3, 3, dtype=double))
        heading = torch.atan2(turn[:, 1, 0], turn[:, 0, 0])
        # a uniform heading, compressed, is uniform in the sector
        cos, sin = (heading * (share - 1)).cos(), (heading * (share - 1)).sin()
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        back = torch.stack((cos, -sin, zero, sin, cos, zero, zero, zero, one), 1).unflatten(1, (3, 3))
        still = torch.tensor((*SHAPE, *(HEADING for _ in SHAPE)), dtype=double)
        state = still + SPREAD * rng.normal(rows, 2 * len(SHAPE), 3, dtype=double)
        return (state @ (back @ turn).mT).flatten(1)


__all__ = ["FallingSprings"]
