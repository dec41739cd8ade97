"""The objective: what is penalised, and how strongly."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from lightning_symmetry.balancing import Balancer, Fixed
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.losses import Call, Loss


@final
class Objective(nn.Module):
    """Penalties that every symmetry gets, weighed by one balancer.

    penalty = n * balance( mean_b loss_j(call_i) for every symmetry i and every loss j ), on every n-th batch.

    Args:
        losses: Penalties, none of them or some.
        balance: Their strengths.
        every_n_steps: On every n-th batch only, n times as strong.
    """

    def __init__(
        self, losses: Sequence[Loss], balance: Balancer | float | Sequence[float], every_n_steps: int = 1
    ) -> None:
        super().__init__()
        if not isinstance(losses, Sequence) or not all(isinstance(loss, Loss) for loss in losses):
            raise InvalidSetting(
                got=f"losses={losses!r}", expected="a list of losses", remedy="For example losses=[Equivariance()]."
            )
        # Any, since torch types what a list holds as plain modules
        self.losses: Any = nn.ModuleList(losses)
        self.balance = balance if isinstance(balance, Balancer) else Fixed(balance)
        self.every_n_steps = every_n_steps

    @property
    def needs_output(self) -> bool:
        """Whether any loss looks at f(x)."""
        return any(loss.needs_output for loss in self.losses)

    def strengths(self, symmetries: int, step: int) -> list[float]:
        """Give one strength a loss and symmetry, loss by loss within each symmetry.

        Args:
            symmetries: How many there are.
            step: Batches seen so far.

        Raises:
            InvalidSetting: There are not as many strengths as losses.
        """
        terms = symmetries * len(self.losses)
        if step % self.every_n_steps or not terms:
            return [0.0] * terms
        return self.balance.strengths(terms, step)

    def choose_active(self, strengths: Sequence[float]) -> list[Loss]:
        """List the losses that count for any symmetry."""
        count = len(self.losses)
        return [loss for j, loss in enumerate(self.losses) if any(strengths[j::count])]

    def forward(self, calls: Sequence[Call], strengths: Sequence[float]) -> tuple[Tensor, dict[str, Tensor]]:
        """Evaluate the losses that count.

        Args:
            calls: One a symmetry.
            strengths: As `strengths` gives them; a loss of strength 0 is not computed.

        Returns:
            The penalty, a scalar of at least float32; and the value of every loss under ``<symmetry>/<loss>``.
        """
        values: list[Tensor] = []
        named: dict[str, Tensor] = {}
        for i, call in enumerate(calls):
            for j, loss in enumerate(self.losses):
                if strengths[i * len(self.losses) + j] == 0:
                    values.append(call.weights.new_zeros(()))
                    continue
                values.append(loss(call).mean())
                named[f"{call.symmetry.name}/{loss.key}"] = values[-1].detach()
        dtype = functools.reduce(torch.promote_types, [v.dtype for v in values], torch.float32)
        return self.balance(torch.stack([v.to(dtype) for v in values]), calls[0]) * self.every_n_steps, named
