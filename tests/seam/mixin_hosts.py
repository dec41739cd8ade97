"""Hosts that add their symmetry loss by hand, and the plain loop that they have to equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.callbacks import SymmetryMixin
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.losses import Loss
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import Gap, Host, make_data
from tests.seam.regularized import BALANCERS

KNOWN = "SO(2) on vector -> vector"
LEARNT = "learned(2, dim=2, affine=False) on vector -> vector"


class Stating(SymmetryMixin, Host):
    """Adds the mean squared gap to its loss.

    Args:
        sentence: Its symmetry.
        strength: Of the gap.
        touched: Whether the parts are built in time for the optimizer.
        manual: Whether it steps its optimizer itself.
    """

    def __init__(
        self,
        sentence: Any = KNOWN,
        strength: float = 1.0,
        touched: bool = True,
        manual: bool = False,
        net: nn.Module | None = None,
        lr: float = 0.01,
    ) -> None:
        super().__init__(net, lr)
        self.sentence, self.strength, self.automatic_optimization = sentence, strength, not manual
        if touched:
            assert self.symmetry_parts in self.children()

    def symmetries(self) -> Any:
        return self.sentence

    def symmetry_losses(self) -> Sequence[Loss]:
        return [Gap()]

    def symmetry_balance(self) -> float:
        return self.strength

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        x, target = batch
        y = self.net(x)
        loss = F.mse_loss(y, target) + self.symmetry_loss(self.net, x, y)
        if self.automatic_optimization:
            return self.note(loss)
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.note(loss))
        optimizer.step()
        return None


class Balanced(Stating):
    """Its strengths tune themselves; two candidates at once."""

    def __init__(self, net: nn.Module | None = None, lr: float = 0.01, balance: Any = "dual, plain") -> None:
        self.given = [balance]  # in a list, so that it is no part of the module
        super().__init__([KNOWN, "SO(2) on vector -> scalar"], net=net, lr=lr)

    def symmetry_balance(self) -> Any:
        return BALANCERS["dual, plain"]() if self.given == ["dual, plain"] else self.given[0]

    @property
    def learnt(self) -> dict[str, Tensor]:
        """What the balancer has learnt; -1 for what was not measured yet."""
        self.symmetry_parts.learn()
        return {k: v.nan_to_num(-1.0) for k, v in self.symmetry_parts.objective.balance.state_dict().items()}


def train_by_hand(net: nn.Module, sentence: str, strength: float = 1.0, batches: int = 4) -> Symmetry:
    """Train by a plain loop with the penalty written out, and return the symmetry."""
    symmetry = Symmetry.parse(sentence)
    optimizer = torch.optim.Adam([*net.parameters(), *symmetry.parameters()], lr=0.01)
    for step, (x, target) in enumerate(make_data(batches)):
        y = net(x)
        g, _ = symmetry.bind(x, y).sample(x, 1, Rng(0, step))
        gap = net(symmetry.move_input(g, x)) - symmetry.move_output(g, y)
        loss = F.mse_loss(y, target) + strength * gap.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return symmetry
