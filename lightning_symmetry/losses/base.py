"""The interface of a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from lightning_symmetry.losses.call import Call


class Loss(nn.Module, ABC):
    """What is penalised: lower is better, bounded below, without a strength of its own.

    Attributes:
        views: How many group elements a sample this loss wants, 0 or more.
        needs_output: Whether it looks at the network's answers, so that the network must be a single call; a loss that
            looks only at the group, its law or the network's parameters costs no forward.
        feature: Dotted name, below the network, of the submodule whose output it looks at; None for the network's own.
    """

    views: int = 1
    needs_output: bool = True
    feature: str | None = None

    @abstractmethod
    def forward(self, call: Call) -> Tensor:
        """Return (B,) values, one a sample, or a scalar."""

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Return the mean value of every call, one a symmetry; finals may share work among them."""
        return [self(call).mean() for call in calls]

    @property
    def key(self) -> str:
        """Name in logs, for example ``norm_reward``."""
        name = type(self).__name__
        word = "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
        return word if self.feature is None else f"{word}_{self.feature.replace('.', '_')}"
