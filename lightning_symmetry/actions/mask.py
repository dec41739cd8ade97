"""Segmentation maps: classes, probabilities or logits on the pixels."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions.grid import GridAction
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.warp import sample_nearest
from lightning_symmetry.groups import Element, Group


@final
class Mask(GridAction):
    """A map of classes moves as an image does; whole numbers are read at the nearest pixel, since they cannot be mixed.

    Probabilities and logits (floating point) are read bilinearly, pass gradients on and have a ``lie``. Class indices
    (whole numbers or booleans) stay class indices, pass no gradient on and have no ``lie``.

    Args:
        fill: What lies outside: 0, the background, or the index that the criterion ignores, for example 255.
        gradient: Of ``lie``: "central" or "spectral".

    Raises:
        InvalidSetting: A setting is unknown.

    Example:
        >>> from lightning_symmetry.groups import Translation
        >>> right = Translation(2).exp(torch.tensor([[1.0, 0.0]]))
        >>> Mask(fill=255).act(right, torch.tensor([[[1, 2], [3, 4]]]))
        tensor([[[255,   1],
                 [255,   3]]])
    """

    def __init__(self, fill: float = 0, gradient: str = "central") -> None:
        super().__init__(gradient=gradient)
        if not isinstance(fill, (int, float)):
            raise InvalidSetting(f"fill={fill!r}", "a number", "For example 0, or the index that the loss ignores.")
        self.fill = fill

    def _settings(self) -> dict[str, object]:
        return ({} if self.fill == 0 else {"fill": self.fill}) | super()._settings()

    def check(self, x: Tensor) -> None:
        """Refuse everything but (B, H, W) and (B, C, H, W), of any type that can hold the fill."""
        if x.ndim not in (3, 4):
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for {self.sentence!r}",
                "a batch of maps, (B, H, W) or (B, C, H, W)",
                "Name the tensor that holds the map, or merge further axes into the batch.",
            )
        if x.is_complex() or not x.is_floating_point() and not _holds(x.dtype, self.fill):
            raise ActionMismatch(
                f"{x.dtype} data for {self.sentence!r}",
                f"a type that can hold {self.fill}, which fills what lies outside",
                "Cast the map, for example with x.long(), or choose another fill.",
            )

    def _move(self, g: Element, x: Tensor) -> Tensor:
        grid = x if x.ndim == 4 else x.unsqueeze(1)
        if x.is_floating_point():
            sources = (~g)(self._pixels(grid))
            moved = self._carry(grid - self.fill, sources) + self.fill if self.fill else self._carry(grid, sources)
        else:
            sources = (~g)(self._pixels(torch.empty(grid.shape[-2:], device=x.device)))
            moved = sample_nearest(grid, sources, self.fill)
        return moved.reshape(x.shape)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        grid = x if x.ndim == 4 else x.unsqueeze(1)
        return self._drag(group, grid).reshape(x.shape[0], -1, *x.shape[1:])


def _holds(dtype: torch.dtype, value: float) -> bool:
    if dtype == torch.bool:
        return value in (0, 1)
    limits = torch.iinfo(dtype)
    return value == int(value) and limits.min <= value <= limits.max
