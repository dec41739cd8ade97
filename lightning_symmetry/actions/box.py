"""Bounding boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions.base import Action, write_words
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.warp import frame_to_pixels, pixels_to_frame, read_canvas
from lightning_symmetry.groups import Element, Group

FORMATS = ("xyxy", "xywh", "cxcywh")


@final
class Box(Action):
    """The four corners move, and the result is their upright hull.

    A turned box grows, so that this is a representation only of maps that keep boxes upright: translations, scalings
    along the axes, the symmetries of the square. Boxes that leave the image are not cut. ``lie`` moves every side with
    its middle, the mean of the two one-sided derivatives.

    A box of torchvision's ``tv_tensors`` says itself what its numbers are; the settings are for plain tensors.

    Args:
        format: Of the last axis: "xyxy" (left, top, right, bottom), "xywh" (left, top, sides) or "cxcywh" (middle,
            sides).
        canvas_size: (height, width) of the image, for boxes in pixels; None for boxes in the coordinates of the image,
            where the longer side spans [-1, 1].
        relative: Whether the numbers are fractions of the width and the height of the canvas, as in DETR.

    Raises:
        InvalidSetting: A setting is unknown.

    Example:
        >>> quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
        >>> Box(canvas_size=(8, 8)).act(quarter, torch.tensor([[0.0, 0.0, 2.0, 1.0]]))
        tensor([[7., 0., 8., 2.]])
    """

    affine = True
    exact = False

    def __init__(self, format: str = "xyxy", canvas_size: Sequence[int] | None = None, relative: bool = False) -> None:
        super().__init__()
        if format not in FORMATS:
            raise InvalidSetting(f"format={format!r}", f"one of {', '.join(FORMATS)}", "Convert other boxes to these.")
        if relative and canvas_size is None:
            raise InvalidSetting(
                "relative=True without canvas_size", "the shape of the image", "Fractions of unequal sides need it."
            )
        self.format, self.canvas_size, self.relative = format, read_canvas(canvas_size), relative

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        settings = {
            "format": (self.format, "xyxy"),
            "canvas_size": (self.canvas_size, None),
            "relative": (self.relative, False),
        }
        return write_words("box", **{key: value for key, (value, usual) in settings.items() if value != usual})

    def base_dim(self, x: Tensor) -> int | None:
        """Tell that boxes lie in the plane."""
        return 2

    def node_count(self, x: Tensor) -> int | None:
        """Tell the number of boxes of a sample."""
        return x.shape[1] if x.ndim == 3 else None

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers and everything but (B, N, 4) and (B, 4)."""
        self._of(x)
        super().check(x)
        if x.ndim not in (2, 3) or x.shape[-1] != 4:
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for {self.sentence!r}",
                "boxes, (B, N, 4) or (B, 4)",
                "Pad the lists of boxes to one length.",
            )

    def act(self, g: Element | Tensor, x: Tensor) -> Tensor:
        """Move boxes; those of ``tv_tensors`` by the format and the canvas that they name."""
        reader = self._of(x)
        return super().act(g, x) if reader is self else reader.act(g, x)

    def lie(self, group: Group, x: Tensor) -> Tensor:
        """Differentiate, (B, K, N, 4) or (B, K, 4)."""
        reader = self._of(x)
        return super().lie(group, x) if reader is self else reader.lie(group, x)

    def _of(self, x: Tensor) -> Box:
        """Give the action of a tensor that names its own format."""
        canvas, format = getattr(x, "canvas_size", None), getattr(x, "format", None)
        if canvas is None or format is None:
            return self
        name = str(format.value).lower()
        if name not in FORMATS:
            raise ActionMismatch(f"boxes of format {name!r}", f"one of {', '.join(FORMATS)}", "Convert them first.")
        same = (name, tuple(canvas), False) == (self.format, self.canvas_size, self.relative)
        return self if same else Box(name, canvas)

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give the upper left and the lower right corners in the coordinates of the image, (B, N, 2) each."""
        first, second = x.reshape(x.shape[0], -1, 4).split(2, -1)
        if self.format == "xywh":
            second = first + second
        elif self.format == "cxcywh":
            first, second = first - second / 2, first + second / 2
        if self.canvas_size is None:
            return first, second
        scale = self._scale(x)
        return pixels_to_frame(first * scale, *self.canvas_size), pixels_to_frame(second * scale, *self.canvas_size)

    def _write(self, low: Tensor, high: Tensor, shift: bool = True) -> Tensor:
        """Undo ``_read``, or differentiate its inverse."""
        if self.canvas_size is not None:
            low, high = (frame_to_pixels(c, *self.canvas_size, shift) / self._scale(c) for c in (low, high))
        if self.format == "xywh":
            low, high = low, high - low
        elif self.format == "cxcywh":
            low, high = (low + high) / 2, high - low
        return torch.cat((low, high), -1)

    def _scale(self, like: Tensor) -> Tensor:
        height, width = self.canvas_size if self.canvas_size and self.relative else (1, 1)
        return like.new_tensor((width, height))

    def _corners(self, x: Tensor) -> Tensor:
        """List the corners round the box, (B, N, 4, 2)."""
        (left, top), (right, bottom) = (corner.unbind(-1) for corner in self._read(x))
        across, down = torch.stack((left, right, right, left), -1), torch.stack((top, top, bottom, bottom), -1)
        return torch.stack((across, down), -1)

    def _move(self, g: Element, x: Tensor) -> Tensor:
        corners = self._corners(x)
        moved = g(corners.flatten(1, 2)).unflatten(1, corners.shape[1:3])
        return self._write(moved.amin(2), moved.amax(2)).reshape(x.shape)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        corners = self._corners(x)
        velocity = group.field(corners.flatten(1, 2)).unflatten(1, corners.shape[1:3]).movedim(3, 1)
        left, top, right, bottom = (
            velocity[..., [i, j], axis].mean(-1) for i, j, axis in ((0, 3, 0), (0, 1, 1), (1, 2, 0), (2, 3, 1))
        )
        change = self._write(torch.stack((left, top), -1), torch.stack((right, bottom), -1), shift=False)
        return change.reshape(x.shape[0], -1, *x.shape[1:])
