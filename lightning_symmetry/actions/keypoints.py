"""Keypoints of an image: joints, landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions.base import Action, orientation, write_words
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.warp import frame_to_pixels, pixels_to_frame, read_canvas
from lightning_symmetry.groups import Element, Group


@final
class Keypoints(Action):
    """Named places of an image move with it; in a mirror, left and right exchange their names as well.

    ``act(g, p)_i = g(p_s(i))``, where s exchanges the pairs of ``swap`` if g reverses orientation. A third channel,
    visibility, goes with its keypoint unchanged. Keypoints of torchvision's ``tv_tensors`` bring their canvas along.

    Args:
        canvas_size: (height, width) of the image, for keypoints in pixels, whole numbers being the middles of pixels;
            None for coordinates of the image, where the longer side spans [-1, 1].
        swap: Pairs of keypoints that a mirror exchanges, such as the eyes.

    Raises:
        InvalidSetting: The pairs are not disjoint pairs of whole numbers.

    Example:
        >>> mirror = torch.diag(torch.tensor([-1.0, 1.0]))[None]
        >>> Keypoints((4, 4), swap=[(0, 1)]).act(mirror, torch.tensor([[[0.0, 0.0], [2.0, 1.0]]]))
        tensor([[[1., 1.],
                 [3., 0.]]])
    """

    affine = True

    def __init__(self, canvas_size: Sequence[int] | None = None, swap: Sequence[Sequence[int]] = ()) -> None:
        super().__init__()
        self.canvas_size = read_canvas(canvas_size)
        self.swap = [tuple(pair) for pair in swap]
        named = [i for pair in self.swap for i in pair]
        if {len(pair) for pair in self.swap} - {2} or len(set(named)) < len(named) or min(named, default=0) < 0:
            raise InvalidSetting(
                f"swap={swap!r}", "pairs of keypoints, each at most once", "For example [(1, 2), (3, 4)]."
            )

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        settings = {"canvas_size": self.canvas_size, "swap": self.swap}
        return write_words("keypoints", **{key: value for key, value in settings.items() if value})

    def base_dim(self, x: Tensor) -> int | None:
        """Tell that keypoints lie in the plane."""
        return 2

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers, everything but (B, N, 2) and (B, N, 3), and lists too short for the pairs."""
        super().check(x)
        if x.ndim != 3 or x.shape[-1] not in (2, 3):
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for 'keypoints'",
                "(B, N, 2), or (B, N, 3) with visibility last",
                "Split the last axis with x.unflatten(-1, (-1, 2)).",
            )
        last = max((i for pair in self.swap for i in pair), default=-1)
        if last >= x.shape[1]:
            raise ActionMismatch(
                f"{x.shape[1]} keypoints for {self.sentence!r}", f"at least {last + 1}", "Correct the pairs of swap."
            )

    def act(self, g: Element | Tensor, x: Tensor) -> Tensor:
        """Move keypoints; those of ``tv_tensors`` on the canvas that they name."""
        reader = self._of(x)
        return super().act(g, x) if reader is self else reader.act(g, x)

    def lie(self, group: Group, x: Tensor) -> Tensor:
        """Differentiate, (B, K, N, 2 or 3); visibility does not change."""
        reader = self._of(x)
        return super().lie(group, x) if reader is self else reader.lie(group, x)

    def _of(self, x: Tensor) -> Keypoints:
        canvas = getattr(x, "canvas_size", None)
        return self if canvas is None or tuple(canvas) == self.canvas_size else Keypoints(canvas, self.swap)

    def _move(self, g: Element, x: Tensor) -> Tensor:
        place, rest = x[..., :2], x[..., 2:]
        if self.canvas_size is None:
            moved = g(place)
        else:
            moved = frame_to_pixels(g(pixels_to_frame(place + 0.5, *self.canvas_size)), *self.canvas_size) - 0.5
        moved = torch.cat((moved, rest), -1)
        if not self.swap:
            return moved
        order = list(range(x.shape[1]))
        for i, j in self.swap:
            order[i], order[j] = j, i
        return moved[:, order].where((orientation(g, x) < 0).reshape(-1, 1, 1), moved)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        place, rest = x[..., :2], x[..., 2:]
        if self.canvas_size is None:
            velocity = group.field(place).movedim(2, 1)
        else:
            velocity = group.field(pixels_to_frame(place + 0.5, *self.canvas_size)).movedim(2, 1)
            velocity = frame_to_pixels(velocity, *self.canvas_size, shift=False)
        still = rest.new_zeros(x.shape[0], group.count, *rest.shape[1:])
        return torch.cat((velocity, still), -1)
