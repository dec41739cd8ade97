"""The mathematics of a regularizer with two candidates, written out."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry
from tests.seam.support.hosts import Hand

CANDIDATES = ["SO(2) on vector -> vector", "SO(2) on vector -> scalar"]
RATE, TOLERATED = 20.0, 0.002


class Balanced(Hand):
    """One candidate a batch, twice as strong, with multipliers by plain dual ascent on the last gaps.

    Args:
        candidates: Sentences.
    """

    def __init__(self, candidates: list[str] = CANDIDATES) -> None:
        super().__init__(candidates[0], 1.0, 0.0)
        self.candidates = [Symmetry.parse(sentence) for sentence in candidates]
        self.multipliers, self.slacks = [0.0] * len(candidates), [0.0] * len(candidates)
        self.gaps: list[float] = []
        self.first: list[float] | None = None

    def call(self, net: Any, x: Tensor) -> Tensor:
        count, y = len(self.candidates), net(x)
        cycle, place = divmod(self.step, count)
        self.turn = int(Rng(0, cycle).uniform(count).argsort()[place])
        symmetry = self.candidates[self.turn].bind(x, y)
        g, _ = symmetry.sample(x, 1, Rng(0, self.step))
        gap = (net(symmetry.move_input(g, x)) - symmetry.move_output(g, y)).square().mean(1).mean()
        self.gaps.append(float(gap.detach()))
        if self.multipliers[self.turn]:
            self.penalty = self.penalty + count * self.multipliers[self.turn] * gap
        return y

    def begin(self) -> None:
        if self.gaps and self.first is None:
            self.first = self.gaps  # the closure's first evaluation is what was measured
        self.gaps = []

    def end(self) -> None:
        gaps, self.gaps, self.first = self.first or self.gaps, [], None
        self.slacks[self.turn] = sum(gaps) / len(gaps) - TOLERATED
        pairs = zip(self.multipliers, self.slacks, strict=True)
        self.multipliers = [max(multiplier + RATE * slack, 0.0) for multiplier, slack in pairs]
        super().end()
