"""Images: values on a grid of the plane."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions.base import Action
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.warp import GRADIENTS, PADDINGS, image_gradient, pixel_coordinates, sample_image
from lightning_symmetry.groups import Element, Group


@final
class Image(Action):
    """The content of an image moves: ``(g I)(p) = I(g^-1 p)``, read bilinearly.

    Its derivative is ``-grad I . v``, v being the velocity of the points. Interpolation smooths, so that the group law
    holds up to a second difference of the image; maps that permute pixels, such as quarter turns of squares, are exact.

    Args:
        padding: What lies outside: "zeros", "border" or "reflection".
        gradient: Of ``lie``: "central" or "spectral".

    Raises:
        InvalidSetting: A setting is unknown.

    Example:
        >>> from lightning_symmetry.groups import Cyclic
        >>> quarter = Cyclic(4).discrete[1]
        >>> Image().act(quarter, torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
        tensor([[[[3., 1.],
                  [4., 2.]]]])
    """

    affine = True

    def __init__(self, padding: str = "zeros", gradient: str = "central") -> None:
        super().__init__()
        if padding not in PADDINGS:
            raise InvalidSetting(f"padding={padding!r}", f"one of {', '.join(PADDINGS)}", "Choose one of these.")
        if gradient not in GRADIENTS:
            raise InvalidSetting(f"gradient={gradient!r}", f"one of {', '.join(GRADIENTS)}", "Choose one of these.")
        self.padding, self.gradient = padding, gradient

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        words = [] if self.padding == "zeros" else [f"padding={self.padding!r}"]
        words += [] if self.gradient == "central" else [f"gradient={self.gradient!r}"]
        return f"image({', '.join(words)})" if words else "image"

    def base_dim(self, x: Tensor) -> int | None:
        """Tell that images lie in the plane."""
        return 2

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers and everything but (B, C, H, W)."""
        super().check(x)
        if x.ndim != 4:
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for {self.sentence!r}",
                "a batch of images, (B, C, H, W)",
                "Add the channel axis with x.unsqueeze(1), or merge further axes into the batch.",
            )

    def _move(self, g: Element, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        pixels = pixel_coordinates(height, width, device=x.device, dtype=x.dtype)
        points = (~g)(pixels.unsqueeze(0))
        return sample_image(x.to(points.dtype), points, self.padding)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        pixels = pixel_coordinates(height, width, device=x.device, dtype=x.dtype)
        velocity = group.field(pixels.unsqueeze(0))[0].movedim(0, -1).unflatten(-1, (height, width))
        slope = image_gradient(x, self.gradient).unsqueeze(1)
        along_x, along_y = velocity[:, None, 0], velocity[:, None, 1]
        return -torch.addcmul(slope[:, :, :, 0] * along_x, slope[:, :, :, 1], along_y)
