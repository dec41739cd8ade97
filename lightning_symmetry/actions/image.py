"""Images: values on a grid of the plane."""

from __future__ import annotations

from typing import final

from torch import Tensor

from lightning_symmetry.actions.grid import GridAction
from lightning_symmetry.exceptions import ActionMismatch
from lightning_symmetry.groups import Element, Group


@final
class Image(GridAction):
    """The content of an image moves: ``(g I)(p) = I(g^-1 p)``, read bilinearly.

    Its derivative is ``-grad I . v``, v being the velocity of the points. Interpolation smooths, so that the group law
    holds up to a second difference of the image; maps that permute pixels, such as quarter turns of squares, are exact.
    ``intensity`` changes its values; of all actions on grids it is the only one that it moves.

    Args:
        padding: What lies outside: "zeros", "border" or "reflection".
        gradient: Of ``lie``: "central" or "spectral".

    Raises:
        InvalidSetting: A setting is unknown.

    Example:
        >>> import torch
        >>> from lightning_symmetry.groups import Cyclic
        >>> quarter = Cyclic(4).discrete[1]
        >>> Image().act(quarter, torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
        tensor([[[[3., 1.],
                  [4., 2.]]]])
    """

    carries_values = True

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
        return self._carry(x, (~g)(self._pixels(x)))

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        return self._drag(group, x)
