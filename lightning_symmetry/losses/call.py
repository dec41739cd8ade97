"""What one forward of the tapped network gave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Element
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry


@dataclass(frozen=True)
class View:
    """One drawn element for each sample, and what it makes of the input."""

    g: Element
    x: Any


@dataclass(frozen=True)
class Call:
    """One call of the network under study, with the group elements drawn for it.

    Args:
        f: The network on the same structure as ``x``; a call leaves no trace (buffers, random numbers) in it.
        x: Input structure of B samples.
        y: The network's output f(x).
        g: B * n drawn elements; row b * n + j is draw j of sample b.
        weights: (B, n) weights of the draws.
        symmetry: How elements act.
        rng: Further random numbers for this call.
        step: Batches seen so far.
    """

    f: Callable[[Any], Any]
    x: Any
    y: Any
    g: Element
    weights: Tensor
    symmetry: Symmetry
    rng: Rng
    step: int

    @cached_property
    def rows(self) -> Rows:
        """Which sample every row of the input's and the output's tensors belongs to."""
        return Rows.of(self.x)

    @cached_property
    def views(self) -> list[View]:
        """The n moved inputs, shared by everything that asks."""
        n = self.weights.shape[1]
        elements = [self.g[j::n] for j in range(n)]
        return [View(g, self.symmetry.move_input(g, self.x)) for g in elements]

    @cached_property
    def answers(self) -> list[Any]:
        """The network's answers f(gx) to the views: n forwards, shared likewise."""
        return [self.f(view.x) for view in self.views]
