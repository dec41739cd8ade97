"""What happens to the values of an image and not to their places: brightness, contrast, colour and their like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from lightning_symmetry.exceptions import ActionMismatch, AmbiguousPath, InvalidSetting, UnknownName
from lightning_symmetry.functional.precision import full_precision, widen
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.subclasses import dress, undress
from lightning_symmetry.methods.dual.family import Family, Normalisation
from lightning_symmetry.paths import describe_leaves, find_leaves, get_leaf, replace_leaves

SPACES = ("standard", "wide")
LEVELS = 29
"""Published strengths are whole numbers from 1 to this one."""

# torchvision's functions take one strength for all samples, which is asked for the image that strength 0 leaves of it:
# the result for any other strength lies on the line through both.
_EMPTIED: dict[str, Callable[[Tensor], Tensor]] = {
    "brightness": lambda pixels: tv.adjust_brightness(pixels, 0.0),
    "contrast": lambda pixels: tv.adjust_contrast(pixels, 0.0),
    "color": lambda pixels: tv.adjust_saturation(pixels, 0.0),
    "sharpness": lambda pixels: tv.adjust_sharpness(pixels, 0.0),
}
_ALL_OR_NOTHING: dict[str, Callable[[Tensor], Tensor]] = {
    "autocontrast": tv.autocontrast,
    "equalize": tv.equalize,
    "invert": tv.invert,
}
_FACTORS = {"standard": (0.1, 1.9), "wide": (0.01, 2.0)}
_BITS = {"standard": (4, 8), "wide": (2, 8)}
OPERATIONS = (*_EMPTIED, "solarize", "posterize", *_ALL_OR_NOTHING)

# Rounding may carry values this far out of [0, 1].
_TOLERANCE = 1e-3


@final
class Photometric(Family):
    """One operation of torchvision on the values of images, with a strength of its own for every sample.

    ``brightness``, ``contrast``, ``color`` and ``sharpness`` mix the image with a black, a uniformly grey, a colourless
    and a smooth one: ``clip(f v + (1 - f) v_0, 0, 1)``, so that the factor f = 1 leaves it alone; ``solarize`` inverts
    the values from a threshold on; ``posterize`` keeps so many bits; ``autocontrast``, ``equalize`` and ``invert`` know
    no strength. The published strengths s = 1 .. 29 are equally likely and stand for
    f = low + (high - low) s / 29, the threshold (256 - floor(256 s / 29)) / 255, and
    most - floor((most - least) s / 29) bits.

    Args:
        operation: One of those.
        space: "standard" (f from 0.1 to 1.9, 4 to 8 bits) or "wide" (f from 0.01 to 2, 2 to 8 bits).
        mean: That the images, of values in [0, 1], were normalised with: one number, or one a channel.
        std: Likewise.
        path: Where the images are; needed only where the input has several tensors that could be images.
        name: In logs; the operation by default.

    Raises:
        UnknownName: There is no such operation.
        InvalidSetting: There is no such space.
        ActionMismatch: When it first sees data: values outside of [0, 1], or neither 1 nor 3 channels.

    Moves are (B,) tensors: factor, threshold, number of bits, or 1. Of colourless images, ``color`` leaves everything.

    Cost: one call of torchvision, whatever the number of different strengths.

    Example:
        >>> darker = Photometric("brightness")
        >>> darker.move(torch.tensor([1.0, 0.5]), torch.ones(2, 1, 1, 1)).flatten()
        tensor([1.0000, 0.5000])
    """

    def __init__(
        self,
        operation: str,
        space: str = "standard",
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        path: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name or operation)
        if operation not in OPERATIONS:
            raise UnknownName(f"the operation {operation!r}", f"one of {', '.join(OPERATIONS)}", "Choose one of these.")
        check_space(space)
        self.operation, self.space, self.path = operation, space, path
        self.normalisation = Normalisation(mean, std)
        self._is_checked = False

    def bind(self, x: Any, y: Any = None) -> None:
        """Find the images and look at their values, once."""
        if self._is_checked:
            return
        image = get_leaf(x, self._find(x))
        if not image.numel():
            return
        pixels = self.normalisation.undo(undress(image))
        low, high = float(pixels.amin()), float(pixels.amax())
        if pixels.shape[1] not in (1, 3) or not -_TOLERANCE <= low <= high <= 1 + _TOLERANCE:
            raise ActionMismatch(
                got=f"images of {pixels.shape[1]} channels with values from {low:.3g} to {high:.3g} for {self.name!r}",
                expected="1 or 3 channels with values in [0, 1], once normalisation is undone",
                remedy="Pass the mean= and std= that they were normalised with.",
            )
        self._is_checked = True

    def _find(self, x: Any) -> str:
        """Tell where the images are."""
        leaves = find_leaves(x)
        fitting = [
            path
            for path, leaf in leaves.items()
            if self.path in (None, path) and leaf.ndim == 4 and leaf.is_floating_point()
        ]
        if len(fitting) != 1:
            raise AmbiguousPath(
                got=f"{len(fitting)} tensors that could be images for {self.name!r} ({describe_leaves(x)})",
                expected="exactly one, (B, C, H, W) of floating point",
                remedy="Name it with path=, and convert whole numbers to [0, 1].",
            )
        return fitting[0]

    def draw(self, x: Any, rng: Rng) -> Tensor:
        """Draw strengths, (B,)."""
        self.bind(x)
        image = get_leaf(x, self._find(x))
        level = 1 + rng.integers(LEVELS, len(image), device=image.device)
        return self.strength(level)

    def strength(self, level: Tensor) -> Tensor:
        """Translate published strengths.

        Args:
            level: (B,), whole numbers from 1 to 29.

        Returns:
            (B,): factor, threshold, number of bits, or 1.
        """
        if self.operation in _EMPTIED:
            low, high = _FACTORS[self.space]
            return low + (high - low) * level.float() / LEVELS
        if self.operation == "solarize":
            return (256 - level * 256 // LEVELS) / 255
        if self.operation == "posterize":
            least, most = _BITS[self.space]
            return (most - level * (most - least) // LEVELS).float()
        return torch.ones_like(level, dtype=torch.float32)

    def move(self, moves: Tensor, x: Any) -> Any:
        """Change the values of every image by its own strength."""
        path = self._find(x)
        given = get_leaf(x, path)
        image = undress(given)
        with full_precision(image.device):
            pixels = self.normalisation.undo(widen(image))
            strength = moves.to(pixels).view(-1, 1, 1, 1)
            changed = self.normalisation.redo(self._change(pixels, strength)).to(image.dtype)
        return replace_leaves(x, {path: dress(changed, given)})

    def _change(self, pixels: Tensor, strength: Tensor) -> Tensor:
        if self.operation in _EMPTIED:
            emptied = _EMPTIED[self.operation](pixels)
            return (strength * pixels + (1 - strength) * emptied).clamp(0, 1)
        if self.operation == "solarize":
            return torch.where(pixels >= strength, tv.invert(pixels), pixels)
        if self.operation == "posterize":
            values = torch.exp2(strength)
            few = (pixels * values).floor().clamp(min=0).minimum(values - 1) / values
            # images have 8 bits
            return torch.where(strength >= 8, pixels, few)
        return _ALL_OR_NOTHING[self.operation](pixels)


def check_space(space: str) -> None:
    """Refuse the name of a space of transformations that does not exist.

    Raises:
        InvalidSetting: It is neither "standard" nor "wide".
    """
    if space not in SPACES:
        raise InvalidSetting(f"space={space!r}", f"one of {', '.join(SPACES)}", "Choose one of these.")
