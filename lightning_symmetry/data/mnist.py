"""MNIST, each digit turned by a random angle: turning it further does not change which digit it is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import final

import torch.nn.functional as F
import torchvision.datasets
from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.actions import Image
from lightning_symmetry.data.base import Fresh, KnownSymmetry, Pairs
from lightning_symmetry.data.digits import FILES, load_mnist, split_digits, weigh_mnist
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO
from lightning_symmetry.symmetry import Symmetry


@final
class MNIST(KnownSymmetry):
    """Handwritten digits, turned by random angles.

    Input (B, 1, S, S) in units of the ink's root mean square over the canvas; the background is exactly 0, so that
    padding with zeros continues it. Target (B,) is the digit. The files are those of torchvision, packed or unpacked,
    in ``<root>/MNIST/raw``.

    Args:
        root: Folder with the folder MNIST.
        degrees: Angles of the training and validation parts are uniform in +- degrees; 0 leaves the digits upright.
        test_degrees: Likewise for the test part, 180 being all angles; by default as in training.
        split: "test" makes all three parts of the 10,000 test digits, whose files are small; "train" trains and
            validates on the 60,000 training digits and tests on the test digits.
        train_size: Digits to train on.
        val_size: Digits to validate on.
        test_size: Digits to test on.
        size: S, pixels a side; fewer than 28 are averages over the pixels of the turned digit.
        fresh: Turn the training digits by new angles in every epoch, instead of by one angle each.
        download: Let torchvision fetch missing files; otherwise nothing is ever downloaded.
        batch_size: Samples a step.
        seed: Of the parts and the angles.

    Raises:
        InvalidSetting: A number lies outside its range.
        InvalidFile: Before training, where the files are missing, damaged, or hold fewer digits than asked for.

    Example:
        >>> MNIST("data", degrees=45).truth().sentence
        'SO(2) on image -> label'
    """

    def __init__(
        self,
        root: str = "data",
        degrees: float = 180.0,
        test_degrees: float | None = None,
        split: str = "test",
        train_size: int = 8000,
        val_size: int = 1000,
        test_size: int = 1000,
        size: int = 28,
        fresh: bool = True,
        download: bool = False,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        sizes = {"train": train_size, "val": val_size, "test": test_size}
        angles = {"degrees": degrees, "test_degrees": degrees if test_degrees is None else test_degrees}
        in_range = min(sizes.values()) >= 1 and 8 <= size <= 28 and all(0 <= a <= 180 for a in angles.values())
        if split not in FILES or not in_range:
            raise InvalidSetting(
                got=f"split={split!r}, sizes={tuple(sizes.values())}, size={size}, angles={tuple(angles.values())}",
                expected=f"a split of {tuple(FILES)}, sizes >= 1, 8 <= size <= 28, angles from 0 to 180 degrees",
                remedy="The defaults are 'test', 8000, 1000, 1000, 28, 180 and the same.",
            )
        self.root, self.split, self.sizes, self.fresh, self.download = Path(root), split, sizes, fresh, download
        self.size, self.degrees, self.test_degrees = size, angles["degrees"], angles["test_degrees"]

    def truth(self) -> Symmetry:
        """Give SO(2); for degrees < 180 it holds as far as the angles reach."""
        return Symmetry.parse("SO(2) on image -> label")

    def prepare_data(self) -> None:
        """Download, if that was asked for."""
        if self.download:
            torchvision.datasets.MNIST(self.root, download=True)

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Read the digits, split and turn them."""
        chosen = dict.fromkeys(self.sizes, self.split) | {"test": "test"}
        files = {name: load_mnist(self.root, name) for name in sorted(set(chosen.values()))}
        asked = {part: (chosen[part], size) for part, size in self.sizes.items()}
        parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}
        for counter, (part, dealt) in enumerate(split_digits(files, asked, self.seed).items(), start=1):
            digits, labels = weigh_mnist(dealt[0]), dealt[1].long()
            if part == "train" and self.fresh:
                parts[part] = Fresh(digits, labels, self._turn_of_epoch)
            else:
                parts[part] = Pairs(self._draw(digits, self._angles(counter, part)), labels)
        return parts

    def _angles(self, counter: int, part: str) -> Tensor:
        degrees = self.test_degrees if part == "test" else self.degrees
        return (2 * Rng(self.seed, counter).uniform(self.sizes[part]) - 1) * math.radians(degrees)

    def _turn_of_epoch(self, digits: Tensor, rows: Tensor) -> Tensor:
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        return self._draw(digits[rows], self._angles(1000 + epoch, "train")[rows])

    def _draw(self, digits: Tensor, angles: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(turn(digits, angles), self.size)


def turn(digits: Tensor, angles: Tensor) -> Tensor:
    """Turn images by one angle each, with a single bilinear resampling.

    Args:
        digits: (B, 1, H, W).
        angles: (B,) radians; a positive angle turns x (right) towards y (down).

    Returns:
        (B, 1, H, W).
    """
    return Image().act(SO(2).exp(angles[:, None]), digits)
