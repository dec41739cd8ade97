"""Real handwritten digits, each turned by a random angle: turning it further does not change which digit it is."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.data.base import Fresh, KnownSymmetry, Pairs
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.warp import pixel_coordinates
from lightning_symmetry.symmetry import Symmetry

# Drawn this much smaller than the canvas, no ink leaves the inscribed disc, so that turning loses nothing.
DIGIT_SCALE = 0.75
# Root mean square over the canvas of the ink, in [0, 1], of all digits.
INK_RMS = 0.324
TEST, VAL, TRAIN = 500, 297, 1000


@final
class RotatedDigits(KnownSymmetry):
    """The 1797 digits that scikit-learn bundles, enlarged and turned: offline, real, and small.

    Input (B, 1, S, S) in units of the ink's root mean square over the canvas; the background is exactly 0, so that
    padding with zeros continues it. Target (B,) is the digit. 1000 digits train, 297 validate, 500 test.

    Args:
        size: S, pixels a side.
        degrees: Angles are uniform in +- degrees; 0 leaves the digits upright.
        samples: Digits to train on, at most 1000.
        fresh: Turn the training digits by new angles in every epoch, instead of by one angle each.
        batch_size: Samples a step.
        seed: Of the split and the angles.

    Raises:
        InvalidSetting: A number lies outside its range, or scikit-learn is missing.

    Example:
        >>> RotatedDigits(degrees=45).truth().group.sentence
        'SO(2)'
    """

    def __init__(
        self,
        size: int = 16,
        degrees: float = 180.0,
        samples: int = TRAIN,
        fresh: bool = False,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        if size < 8 or not 0 <= degrees <= 180 or not 1 <= samples <= TRAIN:
            raise InvalidSetting(
                got=f"size={size}, degrees={degrees}, samples={samples}",
                expected=f"size >= 8, 0 <= degrees <= 180, 1 <= samples <= {TRAIN}",
                remedy="The defaults are 16, 180 and 1000.",
            )
        self.size, self.degrees, self.samples, self.fresh = size, degrees, samples, fresh

    def truth(self) -> Symmetry:
        """Give SO(2); for degrees < 180 it holds as far as the angles reach."""
        return Symmetry.parse("SO(2) on image -> label")

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Split the digits and turn them."""
        digits, labels = _load_digits()
        order = Rng(self.seed).uniform(len(labels), dtype=torch.float64).argsort()
        rows = dict(zip(("test", "val", "train"), order.split((TEST, VAL, TRAIN)), strict=True))
        rows["train"] = rows["train"][: self.samples]
        parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}
        for counter, (split, chosen) in enumerate(rows.items(), start=1):
            angles = self._angles(Rng(self.seed, counter), len(chosen))
            parts[split] = Pairs(turn_digits(digits[chosen], angles, self.size), labels[chosen])
        if self.fresh:
            parts["train"] = Fresh(digits[rows["train"]], labels[rows["train"]], self._turn_of_epoch)
        return parts

    def _angles(self, rng: Rng, rows: int) -> Tensor:
        return (2 * rng.uniform(rows) - 1) * math.radians(self.degrees)

    def _turn_of_epoch(self, digits: Tensor, rows: Tensor) -> Tensor:
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        angles = self._angles(Rng(self.seed, counter=1000 + epoch), self.samples)
        return turn_digits(digits[rows], angles[rows], self.size)


def turn_digits(digits: Tensor, angles: Tensor, size: int) -> Tensor:
    """Draw digits on a larger canvas, each turned by its angle, with a single bilinear resampling.

    Args:
        digits: (B, 1, 8, 8).
        angles: (B,) radians; a positive angle turns x (right) towards y (down).
        size: Pixels a side of the canvas.

    Returns:
        (B, 1, size, size).
    """
    cos, sin = angles.cos(), angles.sin()
    backwards = torch.stack((torch.stack((cos, sin), -1), torch.stack((-sin, cos), -1)), -2)
    points = pixel_coordinates(size, size) @ backwards.mT / DIGIT_SCALE
    grid = points.reshape(len(digits), size, size, 2)
    return F.grid_sample(digits, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _load_digits() -> tuple[Tensor, Tensor]:
    if find_spec("sklearn") is None:
        raise InvalidSetting(
            got="a Python without scikit-learn",
            expected="the recipes extra, whose scikit-learn bundles the digits",
            remedy="Run: pip install 'lightning-symmetry[recipes]'.",
        )
    from sklearn.datasets import load_digits

    bundle = load_digits()
    images = torch.as_tensor(bundle.images, dtype=torch.float32)[:, None] / (16 * INK_RMS)
    return images, torch.as_tensor(bundle.target, dtype=torch.int64)
