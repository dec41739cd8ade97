"""Real handwritten digits, each turned, shifted and scaled by its own: moving it further keeps which digit it is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry import groups
from lightning_symmetry.data.base import Fresh, KnownSymmetry, Pairs
from lightning_symmetry.data.digits import draw_digits, load_bundled, load_mnist, split_digits, weigh_mnist
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.samplers import Uniform
from lightning_symmetry.symmetry import Symmetry


@final
class MovedDigits(KnownSymmetry):
    """Handwritten digits at random angles, places and sizes, in any mixture.

    Input (B, 1, S, S) in units of the ink's root mean square over the canvas; the background is exactly 0, so that
    padding with zeros continues it. Target (B,) is the digit. Each is scaled about the middle, turned, then shifted,
    with a single bilinear resampling. All three parts are moved alike.

    Args:
        rotation: Angles are uniform in +- so many degrees.
        translation: Shifts along x and along y are uniform in +- so many pixels.
        scale: The logarithm of the factor is uniform in +- this.
        root: Folder with the folder MNIST, whose 10,000 test digits are used, see `MNIST`; None for the 1797 digits
            that scikit-learn bundles.
        size: S, pixels a side; MNIST is drawn with 28 and averaged down to fewer.
        fill: Side of the picture that a digit was scanned in, in units of the canvas, before it is scaled. At 0.75,
            turning loses no ink; 1 is usual for MNIST.
        fresh: Move the training digits anew in every epoch, instead of once each.
        samples: Digits to train on; by default 1000, or 8000 of MNIST.
        held_out: Digits to validate on, and as many to test on; by default 398, or 1000 of MNIST.
        batch_size: Samples a step.
        seed: Of the split and the moves.

    Raises:
        InvalidSetting: A number lies outside its range, or scikit-learn is missing.
        InvalidFile: Before training, where the files are missing, damaged, or hold fewer digits than asked for.

    Example:
        >>> MovedDigits(rotation=180, scale=0.3).truth().group.sentence
        'SO(2) * scale'
    """

    def __init__(
        self,
        rotation: float = 0.0,
        translation: float = 0.0,
        scale: float = 0.0,
        root: str | None = None,
        size: int = 16,
        fill: float = 0.75,
        fresh: bool = False,
        samples: int | None = None,
        held_out: int | None = None,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        self.samples = samples if samples is not None else 1000 if root is None else 8000
        self.held_out = held_out if held_out is not None else 398 if root is None else 1000
        if (
            not 0 <= rotation <= 180
            or min(translation, scale) < 0
            or size < 8
            or (root is not None and size > 28)
            or not 0 < fill <= 1
            or min(self.samples, self.held_out) < 1
        ):
            raise InvalidSetting(
                got=f"rotation={rotation}, translation={translation}, scale={scale}, size={size}, fill={fill}, "
                f"samples={samples}, held_out={held_out}",
                expected="0 <= rotation <= 180 degrees, translation and scale >= 0, size >= 8 (MNIST: up to 28), "
                "0 < fill <= 1, and at least one digit in every part",
                remedy="The defaults are 0, 0, 0, 16, 0.75, and numbers that fit.",
            )
        self.rotation, self.translation, self.scale = rotation, translation, scale
        self.root = None if root is None else Path(root)
        self.size, self.fill, self.fresh = size, fill, fresh

    def truth(self) -> Symmetry | None:
        """Give the group of what the digits were moved by, uniform in the ranges that they were moved in.

        None where nothing was moved.
        """
        reach = {
            "SO(2)": [math.radians(self.rotation)],
            "translation": [2 * self.translation / self.size] * 2,
            "scale": [self.scale],
        }
        moved = {name: widths for name, widths in reach.items() if max(widths) > 0}
        if not moved:
            return None
        group = groups.by_name(" * ".join(moved))
        return Symmetry(Uniform(group, [width for widths in moved.values() for width in widths]), "image", "label")

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Read the digits, split and move them."""
        digits = {"all": load_bundled() if self.root is None else load_mnist(self.root, "test")}
        sizes = {"test": self.held_out, "val": self.held_out, "train": self.samples}
        asked = {part: ("all", size) for part, size in sizes.items()}
        parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}
        for counter, (part, (images, labels)) in enumerate(split_digits(digits, asked, self.seed).items(), start=1):
            x, y = images if self.root is None else weigh_mnist(images), labels.long()
            if part == "train" and self.fresh:
                parts[part] = Fresh(x, y, self._move_in_epoch)
            else:
                parts[part] = Pairs(self._move(x, torch.arange(len(x)), Rng(self.seed, counter)), y)
        return parts

    def _move_in_epoch(self, digits: Tensor, rows: Tensor) -> Tensor:
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        return self._move(digits, rows, Rng(self.seed, counter=1000 + epoch))

    def _move(self, digits: Tensor, rows: Tensor, rng: Rng) -> Tensor:
        """Move some of the digits, each by the draws of its own row: (R, 1, S, S)."""
        drawn = 2 * rng.uniform(len(digits), 4)[rows] - 1
        angles, scales = drawn[:, 0] * math.radians(self.rotation), (drawn[:, 3] * self.scale).exp()
        shifts = drawn[:, 1:3] * (2 * self.translation / self.size)
        canvas = max(self.size, digits.shape[-1])
        moved = draw_digits(digits[rows], canvas, angles, shifts, scales, self.fill)
        return moved if canvas == self.size else F.adaptive_avg_pool2d(moved, self.size)
