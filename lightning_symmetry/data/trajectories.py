"""Where people, vehicles and thrown things will be: gravity has an axis, and headings do not matter."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.data.base import SPLITS, KnownSymmetry, Pairs
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry

PAST, FUTURE = 6, 6
# Metres and seconds.
INTERVAL, GRAVITY, BOUNCE = 0.2, 9.81, 0.7
# Of what is left of the interval between two positions, so that landing is followed.
SUBSTEPS = 20


@final
class Trajectories(KnownSymmetry):
    r"""Six observed positions of something that moves, and its next six.

    Input (B, 18) is six positions, 0.2 s apart, in metres, each with an error of measurement; target (B, 18) are the
    six exact ones that follow: ``vector(3) -> vector(3)``. Some things walk, run or drive at a height that hardly
    changes, along arcs; the others are thrown, fall freely, and bounce off the ground, z = 0, with 0.7 of their speed.
    All of them head anywhere, and x and y are counted from the mean of the six observed positions, so that rotations
    about z are exact: a trajectory is as likely as one that is turned, and its future turns along. Tilts are not: there
    is a ground, a preferred height, and gravity. A benchmark of real vehicles and pedestrians of this form was
    published with the method of the reference; its data may not be passed on.

    Args:
        thrown: Share of the things that are thrown.
        noise: Standard deviation of the error of measurement, in metres.
        sector: Width of the sector of headings that the training and validation parts are confined to, in degrees, as
            along a street; the test part has all.
        samples: Of the training part; validation and test hold 2000.
        batch_size: Samples a step.
        seed: Of everything drawn.

    Raises:
        InvalidSetting: A number lies outside its range.

    References:
        Kim et al., Regularizing Towards Soft Equivariance Under Mixed Symmetries, ICML 2023, arXiv 2306.00356.

    Example:
        >>> Trajectories().truth().sentence
        'about(z, mirrors=True) on vector(3) -> vector(3)'
    """

    def __init__(
        self,
        thrown: float = 0.5,
        noise: float = 0.02,
        sector: float = 360.0,
        samples: int = 500,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        if samples < 1 or not 0 <= thrown <= 1 or noise < 0 or not 0 < sector <= 360:
            raise InvalidSetting(
                got=f"samples={samples}, thrown={thrown}, noise={noise}, sector={sector}",
                expected="samples >= 1, a share between 0 and 1, noise >= 0, a sector from above 0 to 360 degrees",
                remedy="The defaults are 500, 0.5, 0.02 and 360.",
            )
        self.samples, self.thrown, self.noise, self.sector = samples, float(thrown), float(noise), float(sector)

    def truth(self) -> Symmetry:
        """Give the rotations about z and the mirrors that contain it."""
        return Symmetry.parse("about(z, mirrors=True) on vector(3) -> vector(3)", name="motion")

    def follow(self, rng: Rng, rows: int, sector: float = 360.0) -> Tensor:
        """Follow things for 2.2 s: (rows, 12, 3), exact positions, 0.2 s apart, with headings around that of x."""
        speed, rise, turn, height, heading, kind = rng.uniform(rows, 6, dtype=torch.float64).unbind(1)
        thrown = kind < self.thrown
        start, velocity = torch.where(thrown, 0.5 + 1.5 * height, 0.8 + 0.4 * height), 8 * rise - 2
        # metres a second, and radians a second
        speed, rate = 1 + 5 * speed, torch.where(thrown, 0.0, 4 * turn - 2)
        times = INTERVAL * torch.arange(PAST + FUTURE, dtype=torch.float64)
        angle = math.radians(sector) * (heading[:, None] - 0.5) + rate[:, None] * times
        # along an arc: the integral of a turning velocity, without its division by small rates
        along = speed[:, None] * times * torch.sinc(rate[:, None] * times / (2 * math.pi))
        middle = angle - rate[:, None] * times / 2
        z = torch.where(thrown[:, None], _fall(start, velocity), start[:, None])
        return torch.stack((along * middle.cos(), along * middle.sin(), z), -1)

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Draw the three parts."""
        parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}
        for counter, split in enumerate(SPLITS):
            rng, rows = Rng(self.seed, counter), self.samples if split == "train" else 2000
            path = self.follow(rng, rows, 360.0 if split == "test" else self.sector)
            seen = path[:, :PAST] + self.noise * rng.normal(rows, PAST, 3, dtype=torch.float64)
            centre = seen.mean(1, keepdim=True) * torch.tensor([1.0, 1.0, 0.0])
            parts[split] = Pairs((seen - centre).flatten(1).float(), (path[:, PAST:] - centre).flatten(1).float())
        return parts


def _fall(z: Tensor, velocity: Tensor) -> Tensor:
    """Let heights (B,) fall from given speeds and bounce: (B, times)."""
    heights, step = [z], INTERVAL / SUBSTEPS
    for _ in range((PAST + FUTURE - 1) * SUBSTEPS):
        z = z + step * velocity - step * step * GRAVITY / 2
        velocity = velocity - step * GRAVITY
        landed = z < 0
        z, velocity = torch.where(landed, -BOUNCE * z, z), torch.where(landed, -BOUNCE * velocity, velocity)
        heights.append(z)
    return torch.stack(heights[::SUBSTEPS], 1)
