"""The contract of losses."""

from __future__ import annotations

import pickle
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_symmetry.groups import SO, Learned
from lightning_symmetry.losses import Call, Loss
from lightning_symmetry.samplers import Uniform
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing.base import Contract, UntouchedGenerator, require


class LossContract(Contract):
    """The laws of ``Loss``.

    Attributes:
        measures_map: Whether the loss is about the network; then it must vanish on an equivariant one.
        lower_bound: What its values never fall below.
        learns: What its gradients have to reach: "generators", or "widths" of the law.

    Example:
        >>> from lightning_symmetry.losses import Equivariance
        >>> class TestEquivariance(LossContract):
        ...     subject = Equivariance
        ...     measures_map = True
        ...     def make(self):
        ...         return Equivariance()
        >>> TestEquivariance().test_zero_on_an_equivariant_map()
    """

    measures_map: ClassVar[bool] = False
    lower_bound: ClassVar[float] = 0.0
    learns: ClassVar[str] = "generators"

    @abstractmethod
    def make(self) -> Loss:
        """Make the loss."""

    def symmetry(self) -> Symmetry:
        """Rotations of the plane, acting on two vectors and on one."""
        return Symmetry(Uniform(SO(2)), "vector(2)", "vector(2)")

    def learnt(self) -> Symmetry:
        """Two generators to be learnt, or rotations with widths to be learnt, acting likewise."""
        law = Uniform(SO(2), 0.5, learnable=True) if self.learns == "widths" else Uniform(Learned(2, 2, affine=False))
        return Symmetry(law, "vector(2)", "vector(2)")

    def call(self, symmetry: Symmetry, broken: bool = False, rows: int = 8) -> Call:
        """Make one call of an equivariant map, or of one that is not."""

        def f(x: Tensor) -> Tensor:
            q, p = x[:, :2], x[:, 2:]
            y = q.norm(dim=1, keepdim=True) * p + (q * p).sum(1, keepdim=True) * q
            return y + torch.cat((x[:, :1].square(), torch.zeros_like(x[:, :1])), 1) if broken else y

        x = self.rng(1).normal(rows, 4, dtype=torch.float64)
        y = f(x)
        symmetry.bind(x, y)
        views = self.make().views
        g, weights = symmetry.sample(x, views, self.rng(2)) if views else (None, x.new_zeros(rows, 0))
        return Call(f, x, y, g, weights, symmetry, self.rng(3), 0)

    def test_shape_and_bound(self) -> None:
        """One finite value a sample or one in all, above the bound, whatever the network."""
        for broken in (False, True):
            value = self.make()(self.call(self.learnt(), broken))
            require(value.shape in ((8,), ()), f"(B,) or a scalar, not {tuple(value.shape)}")
            require(bool(value.isfinite().all()), "values are finite")
            require(bool((value >= self.lower_bound - 1e-12).all()), "values stay above the lower bound")

    def test_zero_on_an_equivariant_map(self) -> None:
        """A loss about the network vanishes exactly where the symmetry holds."""
        if self.measures_map:
            require(bool(self.make()(self.call(self.symmetry())).abs().max() < 1e-10), "zero on an equivariant map")
            require(bool(self.make()(self.call(self.symmetry(), True)).mean() > 1e-4), "positive on a broken one")

    def test_gradients_reach_what_is_learnt(self) -> None:
        """What is learnt can be learnt."""
        symmetry = self.learnt()
        self.make()(self.call(symmetry, broken=True)).sum().backward()
        gradient: Any = next(iter(symmetry.parameters())).grad
        require(gradient is not None and bool(gradient.abs().sum() > 0), f"gradients reach the {self.learns}")
        require(bool(gradient.isfinite().all()), "gradients are finite")

    def test_reproducible(self) -> None:
        """The same call has the same value; torch's global generator and the call's data are left alone."""
        call = self.call(self.symmetry(), broken=True)
        x, y = call.x.clone(), call.y.clone()
        with UntouchedGenerator():
            first = self.make()(call)
        require(torch.equal(first, pickle.loads(pickle.dumps(self.make()))(call)), "the same call, the same value")
        require(torch.equal(call.x, x) and torch.equal(call.y, y), "the call's data stay as they were")

    def test_key(self) -> None:
        """The name in logs is a plain word."""
        require(self.make().key.isidentifier() and self.make().key.islower(), "keys are snake case")
