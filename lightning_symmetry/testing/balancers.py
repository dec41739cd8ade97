"""The contract of balancers."""

from __future__ import annotations

import io
import pickle
from abc import abstractmethod

import torch
from torch import Tensor

from lightning_symmetry.balancing import Balancer
from lightning_symmetry.losses import Call
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing.base import Contract, require


class BalancerContract(Contract):
    """The laws of ``Balancer``.

    Example:
        >>> from lightning_symmetry.balancing import Fixed
        >>> class TestFixed(BalancerContract):
        ...     subject = Fixed
        ...     def make(self):
        ...         return Fixed(0.5)
        >>> TestFixed().test_weighs()
    """

    terms = 3

    @abstractmethod
    def make(self) -> Balancer:
        """Make a balancer for three losses."""

    def call(self, step: int) -> Call:
        """Make a call of the identity at a batch."""
        symmetry, x = Symmetry.parse("SO(2) on vector -> vector"), torch.ones(2, 2)
        g, weights = symmetry.sample(x, 1, self.rng())
        return Call(lambda v: v, x, x, g, weights, symmetry.bind(x, x), self.rng(), step)

    def test_strengths(self) -> None:
        """One finite strength a loss, none negative, at every batch, before and after it has learnt."""
        for learnt in (0, 1, 12):
            for step in (learnt, learnt + 1, 10, 10_000):
                balancer = self.make()
                self.train(balancer, 0, learnt)
                strengths = balancer.strengths(self.terms, step)
                require(len(strengths) == self.terms, "one strength a loss")
                require(all(0 <= s < float("inf") for s in strengths), "strengths are finite and not negative")
                readings = balancer.readings(self.terms, step)
                require(readings["strength"] == strengths, "readings tell the strengths")
                require(all(len(numbers) == self.terms for numbers in readings.values()), "one number a loss")

    def test_weighs(self) -> None:
        """The scalar is the weighted sum, and gradients flow back by the strengths."""
        for step in (0, 10_000):
            balancer, values = self.make(), torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
            strengths = torch.tensor(balancer.strengths(self.terms, step))
            total = balancer(values, self.call(step))
            require(bool(torch.isclose(total, strengths @ values)), "the weighted sum")
            total.backward()
            require(values.grad is not None and torch.allclose(values.grad, strengths), "gradients are the strengths")

    def test_round_trips(self) -> None:
        """A saved state goes on as the original would, also one that is saved in the midst of learning."""
        for when in range(1, 12):
            balancer, twin, file = self.make(), self.make(), io.BytesIO()
            self.train(balancer, 0, when)
            torch.save(balancer.state_dict(), file)
            file.seek(0)
            twin.load_state_dict(torch.load(file, weights_only=True))
            for other in (twin, pickle.loads(pickle.dumps(balancer))):
                require(other.strengths(self.terms, when) == balancer.strengths(self.terms, when), "twins agree")
            for one in (balancer, twin):
                self.train(one, when, 16)
            require(twin.strengths(self.terms, 17) == balancer.strengths(self.terms, 17), "and go on alike")
            states = zip(balancer.state_dict().values(), twin.state_dict().values(), strict=True)
            require(all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in states), "to the last digit")

    def test_forgets_what_it_learnt(self) -> None:
        """The state of the beginning can be loaded at any time."""
        balancer = self.make()
        state = {name: kept.clone() for name, kept in balancer.state_dict().items()}
        self.train(balancer, 0, 12)
        balancer.load_state_dict(state)
        require(balancer.strengths(self.terms, 0) == self.make().strengths(self.terms, 0), "all is forgotten")

    def test_stays_precise(self) -> None:
        """What is learnt is kept in doubles, whatever a module around it is cast to."""
        balancer, other = self.make(), self.make()
        for one in (balancer, other):
            self.train(one, 0, 8)
        other.half()
        require(other.strengths(self.terms, 9) == balancer.strengths(self.terms, 9), "nothing is rounded")

    def test_reads_no_units(self) -> None:
        """What a balancer learns from the task's loss does not depend on the task's units, but for one factor."""
        plain, scaled = self.make(), self.make()
        for balancer, unit in ((plain, 1.0), (scaled, 1000.0)):
            self.train(balancer, 0, 12, unit)
        for step in (13, 14, 15):
            left, right = (b.strengths(self.terms, step) for b in (plain, scaled))
            factors = {round(r / one, 6) for one, r in zip(left, right, strict=True) if one}
            require(len(factors) <= 1, "all strengths grow by one factor")
            require(factors <= {1.0, 1000.0}, f"a factor of 1 or that of the units, not {factors}")

    def train(self, balancer: Balancer, first: int, last: int, unit: float = 1.0) -> None:
        """Let a balancer see some batches of twenty, as callbacks tell them.

        Args:
            balancer: Learns.
            first: Batch.
            last: One after the last batch.
            unit: Of the task's loss.
        """
        balancer.plan(20)
        balancer(torch.ones(self.terms), self.call(first))
        for step in range(first, last):
            values = self.measure(step)
            balancer.observe(unit * (1.0 + 0.5 * (step % 3)), moved=not balancer.is_reference(step))
            balancer.compare(unit * (2.0 - 0.1 * step), values.sqrt(), step)
            balancer.track(values, step)

    def measure(self, step: int) -> Tensor:
        """Make the values of a batch: they differ and fall, and on odd batches only one of them is measured."""
        values = torch.tensor([0.5, 0.02, 0.1], dtype=torch.float64) * (1 + 0.3 * (step % 2)) / (1 + 0.1 * step)
        measured = torch.arange(self.terms) == step // 2 % self.terms
        return torch.where(measured, values, torch.nan) if step % 2 else values
