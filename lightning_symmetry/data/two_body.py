"""Two bodies of the plane that attract each other: rotating where they start rotates where they end."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.data.base import SPLITS, KnownSymmetry, Pairs
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Given
from lightning_symmetry.symmetry import Symmetry

# From their centre. Farther out hardly anything happens in half a unit of time, and nothing tells how to turn.
NEAREST, FARTHEST = 0.2, 0.6


@final
class TwoBody(KnownSymmetry):
    r"""Two bodies of mass 1 under gravity, :math:`H = \tfrac12 |p_1|^2 + \tfrac12 |p_2|^2 - 1 / |q_1 - q_2|`.

    Input and target (B, 8) are q1, q2, p1, p2, the target after ``steps`` steps of leapfrog. The bodies start at
    distances of 0.2 to 0.6 from their centre, on orbits that are circles up to noise, in either sense. The centre
    moves: among the block-diagonal generators of four 2 x 2 blocks the truth is then the only one. In its frame
    (``drift`` 0) the data fill four dimensions of eight, and nothing tells how a generator acts on the others.

    Args:
        samples: Of the training part.
        drift: Standard deviation of the position and of the velocity of the centre.
        noise: Standard deviation of what is added to the momenta of a circular orbit.
        steps: Of the leapfrog.
        step_size: In time.
        batch_size: Samples a step.
        seed: Of everything drawn.

    Raises:
        InvalidSetting: A number lies outside its range.

    Example:
        >>> TwoBody().truth().name
        'rotation'
    """

    def __init__(
        self,
        samples: int = 4000,
        drift: float = 0.4,
        noise: float = 0.2,
        steps: int = 25,
        step_size: float = 0.02,
        batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        if samples < 1 or min(drift, noise) < 0 or steps < 1 or step_size <= 0:
            raise InvalidSetting(
                got=f"samples={samples}, drift={drift}, noise={noise}, steps={steps}, step_size={step_size}",
                expected="samples and steps >= 1, drift and noise >= 0, step_size > 0",
                remedy="The defaults are 4000, 0.4, 0.2, 25 and 0.02.",
            )
        self.samples, self.drift, self.noise, self.steps, self.step_size = samples, drift, noise, steps, step_size

    def truth(self) -> Symmetry:
        """Give the rotation of all four vectors together."""
        turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        return Symmetry(Given(torch.block_diag(turn, turn, turn, turn)[None]), "vector", "same", name="rotation")

    def target(self, x: Tensor) -> Tensor:
        """Move the bodies on: (B, 8) -> (B, 8)."""
        q, p = x.reshape(-1, 2, 2, 2).unbind(1)
        for _ in range(self.steps):
            p = p + self.step_size / 2 * _force(q)
            q = q + self.step_size * p
            p = p + self.step_size / 2 * _force(q)
        return torch.stack((q, p), 1).reshape(-1, 8)

    def energy(self, z: Tensor) -> Tensor:
        """Evaluate the Hamiltonian: (..., 8) -> (...)."""
        q, p = z.unflatten(-1, (2, 2, 2)).unbind(-3)
        return p.square().sum((-2, -1)) / 2 - 1 / (q[..., 1, :] - q[..., 0, :]).norm(dim=-1)

    def trajectories(self, count: int = 16, times: int = 40) -> Tensor:
        """Follow orbits that were not learnt from, with steps a tenth as long: (count, times, 8), float64."""
        fine = TwoBody(1, self.drift, self.noise, 10 * self.steps, self.step_size / 10, seed=self.seed)
        states = [self._draw(Rng(self.seed, len(SPLITS)), count).double()]
        for _ in range(times - 1):
            states.append(fine.target(states[-1]))
        return torch.stack(states, 1)

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Draw the three parts; validation and test hold 2000 samples."""
        parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}
        for counter, split in enumerate(SPLITS):
            x = self._draw(Rng(self.seed, counter), self.samples if split == "train" else 2000)
            parts[split] = Pairs(x, self.target(x))
        return parts

    def _draw(self, rng: Rng, rows: int) -> Tensor:
        radius = NEAREST + (FARTHEST - NEAREST) * rng.uniform(rows, 1)
        angle = 2 * math.pi * rng.uniform(rows)
        sense = 2.0 * rng.integers(2, rows, 1) - 1
        outwards = torch.stack((angle.cos(), angle.sin()), -1)
        along = torch.stack((-angle.sin(), angle.cos()), -1)
        q = radius * outwards
        # the other body, at twice the radius, pulls with 1 / (2 r)^2
        p = sense * along / (2 * radius.sqrt()) + self.noise * rng.normal(rows, 2)
        centre, velocity = (self.drift * rng.normal(rows, 2) for _ in range(2))
        return torch.cat((centre + q, centre - q, velocity + p, velocity - p), 1)


def _force(q: Tensor) -> Tensor:
    """Attract both bodies to each other: positions (B, 2, 2) to forces (B, 2, 2)."""
    apart = q[:, 1] - q[:, 0]
    pull = apart / apart.norm(dim=-1, keepdim=True) ** 3
    return torch.stack((pull, -pull), 1)
