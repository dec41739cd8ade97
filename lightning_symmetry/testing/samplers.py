"""The contract of samplers."""

from __future__ import annotations

import copy
import pickle
from abc import abstractmethod

import torch
import yaml
from torch import Tensor
from torch.testing import assert_close

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SE, Element, Group, Learned
from lightning_symmetry.samplers import Sampler
from lightning_symmetry.testing.base import Contract, UntouchedGenerator, require


class SamplerContract(Contract):
    """The laws of ``Sampler``.

    Example:
        >>> from lightning_symmetry.samplers import Uniform
        >>> class TestUniform(SamplerContract):
        ...     subject = Uniform
        ...     def make(self, group=None):
        ...         return Uniform(group)
        >>> TestUniform().test_ranks()
    """

    rows = 6
    draws = 3
    any_group = True
    """Whether the law exists on every group, a learned one among them; it then has widths."""

    @abstractmethod
    def make(self, group: Group | None = None) -> Sampler:
        """Make the sampler, for a group or for one that comes later."""

    def group(self) -> Group:
        """Make a group to draw from, bound to its dimension."""
        return SE(2)

    def data(self, rows: int) -> Tensor:
        """Make data, (rows, ...), float64; row i depends on i only."""
        return self.rng(9).normal(rows, 4, self.group().dim or 2, dtype=torch.float64)

    def _moved(self, g: Element) -> Tensor:
        dim = g.dim
        points = torch.cat((torch.zeros(1, dim), torch.eye(dim))).double()
        return g(points.expand(len(g), -1, -1))

    def test_shapes(self) -> None:
        """N elements a sample, and weights that sum to one."""
        group, x = self.group(), self.data(self.rows)
        g, weights = self.make(group).sample(x, self.draws, self.rng())
        require(len(g) == self.rows * self.draws and g.dim == group.dim, "B * n elements of the group")
        require(
            weights.shape == (self.rows, self.draws) and bool((weights >= 0).all()), "weights are (B, n), not negative"
        )
        assert_close(weights.sum(1), torch.ones_like(weights[:, 0]))
        require(bool(self._moved(g).isfinite().all()), "elements are finite")

    def test_reproducible(self) -> None:
        """Draws depend on the rng alone."""
        sampler, x = self.make(self.group()), self.data(self.rows)
        with UntouchedGenerator():
            first, _ = sampler.sample(x, self.draws, self.rng())
        again, _ = sampler.sample(x, self.draws, self.rng())
        require(torch.equal(self._moved(first), self._moved(again)), "the same rng gives the same draws")

    def test_ranks(self) -> None:
        """Two processes draw what one would, row by row of the global batch."""
        sampler, x = self.make(self.group()), self.data(self.rows)
        alone, weights = sampler.sample(x, self.draws, Rng(3, 1))
        together = self._moved(alone).unflatten(0, (self.rows, self.draws))
        for rank in range(2):
            g, w = sampler.sample(x[rank::2], self.draws, Rng(3, 1, rank, world=2))
            shared = self._moved(g).unflatten(0, (self.rows // 2, self.draws))
            assert_close(shared, together[rank::2], atol=1e-9, rtol=1e-9)
            assert_close(w, weights[rank::2])

    def test_gradients(self) -> None:
        """They reach learnable widths and the group's generators; a law of some groups only refuses all others."""
        learned = Learned(2, count=2, affine=False)
        if not self.any_group:
            try:
                self.make(learned)
            except InvalidSetting:
                return
            raise AssertionError("a law refuses the groups on which it does not exist")
        sampler = self.make(learned)
        g, _ = sampler.sample(self.data(self.rows), self.draws, self.rng())
        self._moved(g).square().sum().backward()
        for parameter in sampler.parameters():
            require(parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), "gradients arrive")

    def test_support(self) -> None:
        """A list of all elements is a law by itself, and holds what is drawn."""
        sampler, x = self.make(self.group()), self.data(self.rows)
        listed = sampler.support(x)
        if listed is None:
            return
        g, weights = listed
        require(weights.shape[0] == self.rows and len(g) == weights.numel(), "one weight for every element")
        assert_close(weights.sum(1), torch.ones_like(weights[:, 0]))
        drawn, _ = sampler.sample(x, self.draws, self.rng())
        everything = self._moved(g).reshape(self.rows, 1, weights.shape[1], -1)
        some = self._moved(drawn).reshape(self.rows, self.draws, 1, -1)
        require(bool((some - everything).abs().amax(-1).amin(-1).max() < 1e-9), "what is drawn is listed")

    def test_settings(self) -> None:
        """They make the same law again, and are plain values."""
        sampler, x = self.make(self.group()), self.data(self.rows)
        again = type(sampler)(self.group(), **sampler.settings)
        require(yaml.safe_load(yaml.safe_dump(sampler.settings)) == sampler.settings, "settings are plain values")
        expected, _ = sampler.sample(x, self.draws, self.rng())
        drawn, _ = again.sample(x, self.draws, self.rng())
        assert_close(self._moved(drawn), self._moved(expected))

    def test_group_comes_later(self) -> None:
        """A sampler without group refuses to draw; with_group completes it and keeps a group that is there."""
        empty, group = self.make(), self.group()
        try:
            empty.sample(self.data(self.rows), 1, self.rng())
        except InvalidSetting:
            sampler = empty.with_group(group)
        else:
            raise AssertionError("a sampler without group refuses to draw")
        require(sampler.group is group and empty.group is None, "with_group leaves the original alone")
        require(sampler.with_group(self.group()) is sampler, "a group that is there stays")
        expected, _ = self.make(group).sample(self.data(self.rows), 1, self.rng())
        drawn, _ = sampler.sample(self.data(self.rows), 1, self.rng())
        assert_close(self._moved(drawn), self._moved(expected))

    def test_round_trips(self) -> None:
        """Pickles, copies and saved states draw alike."""
        sampler, x = self.make(self.group()), self.data(self.rows)
        loaded = self.make(self.group())
        loaded.load_state_dict(sampler.state_dict())
        expected, _ = sampler.sample(x, 1, self.rng())
        for twin in (loaded, pickle.loads(pickle.dumps(sampler)), copy.deepcopy(sampler)):
            drawn, _ = twin.sample(x, 1, self.rng())
            require(torch.equal(self._moved(drawn), self._moved(expected)), "twins draw alike")
