"""The objective: what is penalised, and how strongly."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from lightning_symmetry.balancing import Balancer, Fixed, by_name
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.losses import Call, Loss


@dataclass(frozen=True)
class Outcome:
    """What the objective found in one call.

    Args:
        penalty: What is added to the task's loss, a scalar of at least float32; None where nothing is.
        values: The value of every loss that was computed, without gradient, under ``<symmetry>/<loss>``.
        terms: The T values with their gradients, loss by loss within each symmetry; NaN for what was not computed.
            They are kept apart: a row of them would tie each to the graphs of all.
    """

    penalty: Tensor | None
    values: dict[str, Tensor]
    terms: list[Tensor]


@final
class Objective(nn.Module):
    """Penalties that every symmetry gets, weighed by one balancer.

    penalty = n * balance( mean_b loss_j(call_i) for every symmetry i and every loss j ), on every n-th batch.

    Args:
        losses: Penalties, none of them or some.
        balance: Their strengths: a balancer, its name, a number, or one number a loss.
        every_n_steps: On every n-th batch only, n times as strong.
        turns: Whether losses that look at the network's answers take the K symmetries in turns, one a batch and K times
            as strong, in an order that is shuffled anew every K batches: the cost of one, whatever K.
    """

    def __init__(
        self,
        losses: Sequence[Loss],
        balance: Balancer | float | Sequence[float] | str,
        every_n_steps: int = 1,
        turns: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(losses, Sequence) or not all(isinstance(loss, Loss) for loss in losses):
            raise InvalidSetting(
                got=f"losses={losses!r}", expected="a list of losses", remedy="For example losses=[Equivariance()]."
            )
        # Any, since torch types what a list holds as plain modules
        self.losses: Any = nn.ModuleList(losses)
        if isinstance(balance, str):
            balance = by_name(balance)
        self.balance = balance if isinstance(balance, Balancer) else Fixed(balance)
        self.balance.losses = max(len(losses), 1)
        self.every_n_steps, self.turns = every_n_steps, turns

    @property
    def needs_output(self) -> bool:
        """Whether any loss looks at f(x)."""
        return any(loss.needs_output for loss in self.losses)

    @property
    def features(self) -> list[str]:
        """Submodules that losses look at, each once."""
        return list(dict.fromkeys(loss.feature for loss in self.losses if loss.feature is not None))

    def demand_strengths(self, symmetries: int) -> None:
        """Check that the strengths fit.

        Args:
            symmetries: How many there are.

        Raises:
            InvalidSetting: There are not as many strengths as losses.
        """
        if terms := symmetries * len(self.losses):
            self.balance.strengths(terms, 0)

    def choose_terms(self, symmetries: int, step: int) -> list[bool]:
        """Say which values are computed in a batch, loss by loss within each symmetry.

        Args:
            symmetries: How many there are.
            step: Batches seen so far.
        """
        terms = symmetries * len(self.losses)
        if step % self.every_n_steps or not terms:
            return [False] * terms
        strengths = self.balance.strengths(terms, step)
        turn = self._whose_turn(symmetries, step) if any(map(self._takes_turns, self.losses)) else None
        return [
            (strength > 0 or self.balance.measures) and (not self._takes_turns(loss) or i == turn)
            for i in range(symmetries)
            for loss, strength in zip(
                self.losses, strengths[i * len(self.losses) : (i + 1) * len(self.losses)], strict=True
            )
        ]

    def choose_active(self, chosen: Sequence[bool]) -> list[Loss]:
        """List the losses that are computed for any symmetry."""
        count = len(self.losses)
        return [loss for j, loss in enumerate(self.losses) if any(chosen[j::count])]

    def wants_elements(self, chosen: Sequence[bool], symmetry: int) -> bool:
        """Whether any loss that is computed for a symmetry looks at drawn elements."""
        first = symmetry * len(self.losses)
        return any(c and loss.views for c, loss in zip(chosen[first:], self.losses, strict=False))

    def forward(self, calls: Sequence[Call], chosen: Sequence[bool]) -> Outcome:
        """Evaluate the losses that count.

        Args:
            calls: One a symmetry.
            chosen: As `choose_terms` gives them.
        """
        count, terms = len(self.losses), len(calls) * len(self.losses)
        strengths = self.balance.strengths(terms, calls[0].step)
        counts = [c and s > 0 for c, s in zip(chosen, strengths, strict=True)]
        found: dict[int, Tensor] = {}
        needs_gradients = any(counts) or self.balance.differentiates
        with torch.set_grad_enabled(needs_gradients and torch.is_grad_enabled()):
            for j, loss in enumerate(self.losses):
                of = [i for i in range(len(calls)) if chosen[i * count + j]]
                if of:
                    values = loss.evaluate([calls[i] for i in of])
                    found.update({i * count + j: value for i, value in zip(of, values, strict=True)})
        dtype = functools.reduce(torch.promote_types, [v.dtype for v in found.values()], torch.float32)
        nan = calls[0].weights.new_full((), torch.nan, dtype=dtype)
        values = [found[k].to(nan) if k in found else nan for k in range(terms)]
        named = {
            f"{calls[k // count].symmetry.name}/{self.losses[k % count].key}": value.detach()
            for k, value in sorted(found.items())
        }
        penalty = None
        if any(counts):
            # what does not count may be anything, even NaN
            factors = [len(calls) if self._takes_turns(loss) else 1 for loss in self.losses] * len(calls)
            weighed = [
                _times(v, f) if c else nan.new_zeros(()) for v, f, c in zip(values, factors, counts, strict=True)
            ]
            penalty = _times(self.balance(torch.stack(weighed), calls[0]), self.every_n_steps)
        return Outcome(penalty, named, values)

    def _takes_turns(self, loss: Loss) -> bool:
        return self.turns and loss.needs_output

    def _whose_turn(self, symmetries: int, step: int) -> int:
        cycle, place = divmod(step // self.every_n_steps, symmetries)
        return int(Rng(0, cycle).uniform(symmetries).argsort()[place])


def _times(value: Tensor, factor: int) -> Tensor:
    """Multiply; a factor of 1 costs no node of the graph, forwards and backwards."""
    return value if factor == 1 else value * factor
