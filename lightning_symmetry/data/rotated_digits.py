"""Real handwritten digits, each turned by a random angle: turning it further does not change which digit it is."""

from __future__ import annotations

import math
from typing import final

from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.data.base import Fresh, KnownSymmetry, Pairs
from lightning_symmetry.data.digits import draw_digits, load_bundled, split_digits
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry

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
        sizes = {"test": TEST, "val": VAL, "train": TRAIN}
        asked = {part: ("bundled", size) for part, size in sizes.items()}
        parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}
        for counter, (part, dealt) in enumerate(
            split_digits({"bundled": load_bundled()}, asked, self.seed).items(), start=1
        ):
            digits, labels = (values[: self.samples] if part == "train" else values for values in dealt)
            if part == "train" and self.fresh:
                parts[part] = Fresh(digits, labels, self._turn_of_epoch)
            else:
                parts[part] = Pairs(
                    draw_digits(digits, self.size, self._angles(Rng(self.seed, counter), len(labels))), labels
                )
        return parts

    def _angles(self, rng: Rng, rows: int) -> Tensor:
        return (2 * rng.uniform(rows) - 1) * math.radians(self.degrees)

    def _turn_of_epoch(self, digits: Tensor, rows: Tensor) -> Tensor:
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        angles = self._angles(Rng(self.seed, counter=1000 + epoch), self.samples)
        return draw_digits(digits[rows], self.size, angles[rows])
