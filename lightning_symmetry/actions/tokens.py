"""Tokens of vision transformers."""

from __future__ import annotations

from math import isqrt
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions.grid import GridAction
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.groups import Element, Group


@final
class Tokens(GridAction):
    """Tokens that stand for patches, row by row, move like the pixels of an image; leading ones are left alone.

    Args:
        leading: Number of class and register tokens before the patches; None takes the first of 0, 1, 2 that leaves a
            square.
        height: Patches down, where they are no square.
        width: Patches across.
        padding: What lies outside: "zeros", "border" or "reflection".
        gradient: Of ``lie``: "central" or "spectral".

    Raises:
        InvalidSetting: A setting makes no sense.

    Example:
        >>> mirror = torch.diag(torch.tensor([-1.0, 1.0]))[None]
        >>> Tokens().act(mirror, torch.tensor([[[9.0], [1.0], [2.0], [3.0], [4.0]]])).flatten()
        tensor([9., 2., 1., 4., 3.])
    """

    def __init__(
        self,
        leading: int | None = None,
        height: int | None = None,
        width: int | None = None,
        padding: str = "zeros",
        gradient: str = "central",
    ) -> None:
        super().__init__(padding, gradient)
        if leading is not None and leading < 0 or (height is None) != (width is None):
            raise InvalidSetting(
                f"leading={leading}, height={height}, width={width}",
                "a count, and both sides of the grid or neither",
                "For example tokens(1, height=14, width=21).",
            )
        self.leading, self.height, self.width = leading, height, width

    def _settings(self) -> dict[str, object]:
        own = {"leading": self.leading, "height": self.height, "width": self.width}
        return {name: value for name, value in own.items() if value is not None} | super()._settings()

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers and everything but (B, N, C) with a grid of tokens."""
        super().check(x)
        if x.ndim != 3 or self._grid(x.shape[1]) is None:
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for {self.sentence!r}",
                "tokens, (B, N, C), whose N is a square after the leading ones",
                "Give leading, and height and width of a grid that is no square.",
            )

    def _grid(self, count: int) -> tuple[int, int, int] | None:
        """Split the tokens: leading ones, height and width."""
        for leading in range(3) if self.leading is None else (self.leading,):
            patches = count - leading
            side = isqrt(max(patches, 0))
            height, width = self.height or side, self.width or side
            if patches > 0 and height * width == patches:
                return leading, height, width
        return None

    def _unfold(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Part the leading tokens, (B, n, C), from the grid, (B, C, H, W)."""
        leading, height, width = self._grid(x.shape[1]) or (0, 0, 0)
        return x[:, :leading], x[:, leading:].mT.unflatten(-1, (height, width))

    def _move(self, g: Element, x: Tensor) -> Tensor:
        still, grid = self._unfold(x)
        moved = self._carry(grid, (~g)(self._pixels(grid))).flatten(2).mT
        return torch.cat((still.to(moved.dtype), moved), 1)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        still, grid = self._unfold(x)
        change = self._drag(group, grid).flatten(3).mT
        return torch.cat((still.new_zeros(x.shape[0], change.shape[1], *still.shape[1:]), change), 2)
