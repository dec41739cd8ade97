"""The interface of a family: the transformations that one constraint is about."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from lightning_symmetry.callbacks.refusals import refuse_slashes
from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.rows import Rows


class Moves(Protocol):
    """One transformation a sample, as a family has drawn them: an element, a tensor of strengths, or a mixture."""

    def __getitem__(self, index: Any, /) -> Any:
        """Select rows, by whole numbers or by a mask."""


class Family(nn.Module, ABC):
    """A set of transformations with a law, from which one is drawn for every sample.

    Drawing is apart from moving, so that a chain can propose, compare and keep. What row b becomes depends on row b of
    the input and of the moves alone.

    Args:
        name: In logs and files.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        refuse_slashes(name)
        self.name = name

    @property
    def moves_output(self) -> bool:
        """Whether the answer to a moved input is expected to move too."""
        return False

    def bind(self, x: Any, y: Any = None) -> None:
        """Complete paths and dimensions from one input (and one output), and refuse data that do not fit.

        Args:
            x: Input structure of B samples.
            y: Output structure; needed before `back` where `moves_output`.
        """

    @abstractmethod
    def draw(self, x: Any, rng: Rng) -> Any:
        """Draw one transformation for every sample.

        Args:
            x: Input structure of B samples.
            rng: Source of randomness.

        Returns:
            Moves of B rows.
        """

    @abstractmethod
    def move(self, moves: Any, x: Any) -> Any:
        """Move every sample by its own transformation.

        Args:
            moves: Of B rows.
            x: Input structure of B samples; it is not changed.

        Returns:
            The same structure, with the same shapes and types.
        """

    def back(self, moves: Any, y: Any, rows: Rows) -> Any:
        """Undo on the answer to a moved input what the output's symmetry says that moving did to it.

        Args:
            moves: Of B rows.
            y: Output structure.
            rows: ``Rows.of(x)`` of the input that it answers.

        Returns:
            The same structure; y itself where the answer is expected to stay.
        """
        return y


@final
@dataclass(frozen=True)
class Normalisation:
    """What was done to images with values in [0, 1] before the network sees them: ``(v - mean) / std``.

    Args:
        mean: One number, or one a channel.
        std: Likewise, above 0.

    Raises:
        InvalidSetting: A standard deviation is not positive.
    """

    mean: float | Sequence[float] = 0.0
    std: float | Sequence[float] = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be undone."""
        if any(value <= 0 for value in ([self.std] if isinstance(self.std, (int, float)) else self.std)):
            raise InvalidSetting(f"std={self.std}", "positive numbers", "Give those of the data's normalisation.")

    def undo(self, image: Tensor) -> Tensor:
        """Give the values in [0, 1] of (B, C, H, W)."""
        mean, std = self._constants(image)
        return image * std + mean

    def redo(self, pixels: Tensor) -> Tensor:
        """Normalise (B, C, H, W) again."""
        mean, std = self._constants(pixels)
        return (pixels - mean) / std

    def _constants(self, image: Tensor) -> list[Tensor]:
        channels, constants = image.shape[1], []
        for given in (self.mean, self.std):
            values = torch.as_tensor(given, dtype=image.dtype, device=image.device).reshape(-1, 1, 1)
            if len(values) not in (1, channels):
                raise DimensionMismatch(
                    f"{len(values)} means or standard deviations for images of {channels} channels",
                    "one number, or one a channel",
                    "Give those of the data's normalisation.",
                )
            constants.append(values)
        return constants


PLAIN = Normalisation()
"""Of images that are in [0, 1] as they are."""
