"""What all content on a grid of the plane shares."""

from __future__ import annotations

from abc import ABC

import torch
from torch import Tensor

from lightning_symmetry.actions.base import Action, write_words
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.warp import GRADIENTS, PADDINGS, image_gradient, pixel_coordinates, sample_image
from lightning_symmetry.groups import Group


class GridAction(Action, ABC):
    """Content on a grid of the plane, which is carried along: ``(g I)(p) = I(g^-1 p)``, read bilinearly.

    Args:
        padding: What lies outside: "zeros", "border" or "reflection".
        gradient: Of ``lie``: "central" or "spectral"; "bilinear" is one-sided, for comparisons with published numbers.

    Raises:
        InvalidSetting: A setting is unknown.
    """

    affine = True
    exact = False

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
        return write_words(type(self).__name__.lower(), **self._settings())

    def _settings(self) -> dict[str, object]:
        """Name the settings that are not the usual ones."""
        settings = {"padding": (self.padding, "zeros"), "gradient": (self.gradient, "central")}
        return {name: value for name, (value, usual) in settings.items() if value != usual}

    def base_dim(self, x: Tensor) -> int | None:
        """Tell that a grid lies in the plane."""
        return 2

    def _pixels(self, grid: Tensor) -> Tensor:
        height, width = grid.shape[-2:]
        return pixel_coordinates(height, width, device=grid.device, dtype=grid.dtype).unsqueeze(0)

    def _carry(self, grid: Tensor, sources: Tensor) -> Tensor:
        """Fill every pixel of (B, C, H, W) with what lies at its source, (B, H*W, 2)."""
        return sample_image(grid.to(sources.dtype), sources, self.padding)

    def _drag(self, group: Group, grid: Tensor) -> Tensor:
        """Differentiate the carried content: ``-grad I . v``, (B, K, C, H, W)."""
        velocity = group.field(self._pixels(grid))[0].movedim(0, -1).unflatten(-1, grid.shape[-2:])
        slope = image_gradient(grid, self.gradient).unsqueeze(1)
        along_x, along_y = velocity[:, None, 0], velocity[:, None, 1]
        return -torch.addcmul(slope[:, :, :, 0] * along_x, slope[:, :, :, 1], along_y)
