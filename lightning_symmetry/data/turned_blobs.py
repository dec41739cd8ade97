"""Two shapes, each upright or upside down, turned by angles that leave a known room for augmentation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.data.base import KnownSymmetry, Pairs
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.warp import pixel_coordinates
from lightning_symmetry.symmetry import Symmetry

# Each shape is a sum of blobs (x, y, size, height) that no rotation leaves alone; y points down.
Shape = tuple[tuple[float, float, float, float], ...]
PLAIN: tuple[Shape, ...] = (((0.0, -0.45, 0.35, 1.0),), ((0.0, -0.45, 0.18, 1.0),))
INTRICATE: tuple[Shape, ...] = (
    ((0.0, -0.45, 0.2, 1.0), (0.15, 0.15, 0.28, 0.8), (-0.4, 0.4, 0.14, 0.7)),
    ((0.0, -0.4, 0.16, 1.0), (-0.3, 0.0, 0.2, 0.9), (0.25, 0.4, 0.22, 0.8), (-0.1, 0.45, 0.14, 0.5)),
)


@final
class TurnedBlobs(KnownSymmetry):
    """Which of two shapes is it, and does it stand upright or upside down? Turning it too far changes the answer.

    Input (B, 1, 16, 16): a shape turned by an angle uniform in +- degrees, by half a turn more where it is upside down,
    with noise of standard deviation 0.02. Target (B,): 2 * shape + (1 if upside down). Rotations by up to `widest` keep
    the four classes apart, rotations beyond mix upright and upside down: the width that an augmentation should find.

    Args:
        degrees: Half of the range of angles around upright and around upside down, below 90.
        samples: Samples to train on; a quarter as many validate, and as many test.
        batch_size: Samples a step.
        seed: Of everything drawn.
        intricate: Whether a shape is made of several blobs instead of one; networks are then surer of what they have
            not seen, so that widths open with more resistance.

    Raises:
        InvalidSetting: A number lies outside its range.

    Example:
        >>> round(TurnedBlobs(degrees=45).widest, 4)
        0.7854
    """

    def __init__(
        self,
        degrees: float = 45.0,
        samples: int = 2000,
        batch_size: int = 128,
        seed: int = 0,
        intricate: bool = False,
    ) -> None:
        super().__init__(batch_size, seed)
        if not 0 <= degrees < 90 or samples < 4:
            raise InvalidSetting(
                got=f"degrees={degrees}, samples={samples}",
                expected="0 <= degrees < 90 and at least 4 samples",
                remedy="The defaults are 45 and 2000.",
            )
        self.degrees, self.samples, self.intricate = degrees, samples, intricate

    @property
    def widest(self) -> float:
        """Half-width in radians from which on rotations mix the classes: a quarter turn less the data's own range."""
        return math.pi / 2 - math.radians(self.degrees)

    def truth(self) -> Symmetry:
        """Give SO(2), which holds as far as `widest`."""
        return Symmetry.parse("SO(2) on image -> label")

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Draw the three parts."""
        sizes = {"train": self.samples, "val": self.samples // 4, "test": self.samples // 4}
        return {split: self._draw(Rng(self.seed, i), size) for i, (split, size) in enumerate(sizes.items(), start=1)}

    def _draw(self, rng: Rng, rows: int) -> Pairs:
        labels = rng.integers(4, rows)
        angles = (2 * rng.uniform(rows) - 1) * math.radians(self.degrees) + math.pi * (labels % 2)
        images = draw_shapes(INTRICATE if self.intricate else PLAIN, labels // 2, angles)
        return Pairs(images + 0.02 * rng.normal(rows, *images.shape[1:]), labels)


def draw_shapes(shapes: Sequence[Shape], chosen: Tensor, angles: Tensor, size: int = 16) -> Tensor:
    """Draw shapes at any angle without resampling.

    Args:
        shapes: What there is to draw.
        chosen: (B,) which of them.
        angles: (B,) radians; a positive angle turns x (right) towards y (down).
        size: Pixels a side.

    Returns:
        (B, 1, size, size).
    """
    cos, sin = angles.cos(), angles.sin()
    backwards = torch.stack((torch.stack((cos, sin), -1), torch.stack((-sin, cos), -1)), -2)
    points = pixel_coordinates(size, size) @ backwards.mT
    pictures = []
    for blobs in shapes:
        x, y, width, height = torch.tensor(blobs).unbind(1)
        distance = (points[..., :1] - x).square() + (points[..., 1:] - y).square()
        pictures.append((height * torch.exp(-distance / (2 * width.square()))).sum(-1))
    drawn = torch.stack(pictures, 1)[torch.arange(len(chosen)), chosen]
    return drawn.reshape(-1, 1, size, size)
