"""The contract of balancers."""

from __future__ import annotations

import pickle
from abc import abstractmethod

import torch

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
        """One finite strength a loss, none negative, at every batch."""
        for step in (0, 1, 10, 10_000):
            strengths = self.make().strengths(self.terms, step)
            require(len(strengths) == self.terms, "one strength a loss")
            require(all(0 <= s < float("inf") for s in strengths), "strengths are finite and not negative")

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
        """A saved state goes on as the original would."""
        balancer, twin = self.make(), self.make()
        self.train(balancer, 0, 8)
        twin.load_state_dict(balancer.state_dict())
        for other in (twin, pickle.loads(pickle.dumps(balancer))):
            require(other.strengths(self.terms, 9) == balancer.strengths(self.terms, 9), "twins agree")
        for one in (balancer, twin):
            self.train(one, 8, 16)
        require(twin.strengths(self.terms, 17) == balancer.strengths(self.terms, 17), "and go on alike")

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
        """Let a balancer see some batches."""
        for step in range(first, last):
            balancer(torch.ones(self.terms), self.call(step))
            balancer.observe(unit * (1.0 + 0.5 * (step % 3)), moved=not balancer.is_reference(step))
