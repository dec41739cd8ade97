"""What one forward of the tapped network gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn

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
        g: B * n drawn elements; row b * n + j is draw j of sample b. None where no loss wants any.
        weights: (B, n) weights of the draws.
        symmetry: How elements act.
        rng: Further random numbers for this call.
        step: Batches seen so far.
        module: The network itself, for losses that look at its parameters.
        look: Like ``f``, but gives a pair: the answer, and what submodules that some loss has named said on the way.
        said: What they said on the way to ``y``, by their dotted names below the network.
    """

    f: Callable[[Any], Any]
    x: Any
    y: Any
    g: Element | None
    weights: Tensor
    symmetry: Symmetry
    rng: Rng
    step: int
    module: nn.Module | None = None
    look: Callable[[Any], tuple[Any, Mapping[str, Any]]] | None = None
    said: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def rows(self) -> Rows:
        """Which sample every row of the input's and the output's tensors belongs to."""
        return Rows.of(self.x)

    @cached_property
    def views(self) -> list[View]:
        """The n moved inputs, shared by everything that asks."""
        n = self.weights.shape[1]
        elements = [] if self.g is None else [self.g[j::n] for j in range(n)]
        return [View(g, self.symmetry.move_input(g, self.x)) for g in elements]

    @cached_property
    def answers(self) -> list[Any]:
        """The network's answers f(gx) to the views: n forwards, shared likewise."""
        return [y for y, _ in self._looks]

    @cached_property
    def _looks(self) -> list[tuple[Any, Mapping[str, Any]]]:
        look = self.look or (lambda x: (self.f(x), {}))
        return [look(view.x) for view in self.views]

    def inside(self, feature: str, symmetry: Symmetry) -> Call:
        """Look at what a submodule says in place of the network's answer; views and forwards stay shared.

        Args:
            feature: Dotted name below the network, one of ``said``.
            symmetry: How elements act there: the same law and input, another output.

        Returns:
            The same call of the map from the input to that feature.
        """
        look = self.look
        assert look is not None, "a loss that looks inside names its features"
        inner = replace(self, f=lambda x: look(x)[1][feature], y=self.said[feature], symmetry=symmetry, look=None)
        # a frozen dataclass keeps what is cached in its dict
        vars(inner).update(views=self.views, answers=[said[feature] for _, said in self._looks])
        return inner
