"""The contract of actions."""

from __future__ import annotations

import copy
import pickle
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from lightning_symmetry.actions import Action, by_name
from lightning_symmetry.exceptions import ActionMismatch
from lightning_symmetry.groups import Element, Group, Learned
from lightning_symmetry.testing.base import Contract, UntouchedGenerator, require


class _Marked(Tensor):
    """A subclass with an attribute, as tv_tensors are."""

    mark: str


class ActionContract(Contract):
    """The laws of ``Action``.

    Example:
        >>> from lightning_symmetry.actions import Vector
        >>> from lightning_symmetry.groups import SO
        >>> class TestVelocities(ActionContract):
        ...     subject = Vector
        ...     def make(self):
        ...         return Vector()
        ...     def group(self):
        ...         return SO(3)
        ...     def data(self, rows):
        ...         return self.rng().normal(rows, 6, dtype=torch.float64)
        >>> TestVelocities().test_composition()
    """

    homomorphism = True
    """Whether ``act(g @ h) = act(g) act(h)`` for all pairs; otherwise only along one-parameter groups."""
    moves = True
    """Whether anything moves; a still action also accepts whole numbers."""
    whole_numbers = False
    """Whether whole numbers are moved too; they need no ``lie``. An action on nothing else gives such ``data``."""
    any_map = True
    """Whether every linear map acts, not only the elements of ``group``."""
    tolerance = 1e-9
    """Largest error of the group laws, relative to the largest value; say why where it is not rounding."""
    width = 0.5
    rows = 4

    @abstractmethod
    def make(self) -> Action:
        """Make the action."""

    @abstractmethod
    def group(self) -> Group:
        """Make a group that acts, bound to the data's space."""

    @abstractmethod
    def data(self, rows: int) -> Tensor:
        """Make data, (rows, ...), float64; whole numbers only for an action that moves nothing else."""

    def _setting(self) -> tuple[Action, Group, Tensor]:
        action, group, x = self.make(), self.group().double(), self.data(self.rows)
        action.bind(x, group)
        return action.double(), group, x

    def _element(self, group: Group, counter: int, factor: float = 1.0) -> Element:
        finite = None if group.count else group.draw_finite(self.rng(counter), self.rows)
        if finite is not None:
            return finite
        t = self.rng(counter).normal(self.rows, group.count, dtype=torch.float64)
        return group.exp(factor * self.width * t)

    def _close(self, a: Tensor, b: Tensor) -> None:
        require(a.shape == b.shape and a.dtype == b.dtype, "data keep their shape and type")
        error, size = float((a - b).detach().abs().max()), float(b.detach().abs().max())
        require(error <= self.tolerance * max(size, 1e-12), f"an error of {error:.2e} for values up to {size:.2e}")

    def test_identity(self) -> None:
        """The identity leaves the data as they are."""
        action, group, x = self._setting()
        g = group.exp(torch.zeros(self.rows, group.count, dtype=torch.float64))
        assert_close(action.act(g, x), x, atol=1e-9, rtol=1e-9)

    def test_inverse(self) -> None:
        """``~g`` undoes ``g``."""
        action, group, x = self._setting()
        g = self._element(group, 1)
        self._close(action.act(~g, action.act(g, x)), x)

    def test_composition(self) -> None:
        """``act(g @ h, x) = act(g, act(h, x))``."""
        action, group, x = self._setting()
        if self.homomorphism:
            g, h = self._element(group, 1), self._element(group, 2)
            product = g @ h
        else:
            g, h, product = (self._element(group, 1, factor) for factor in (0.7, -1.1, -0.4))
        self._close(action.act(product, x), action.act(g, action.act(h, x)))

    def test_finite_part(self) -> None:
        """The group's finite part acts as a group."""
        action, group, x = self._setting()
        finite = group.discrete
        if finite is None or not self.homomorphism:
            return
        last = len(finite) - 1
        g, h = finite[torch.full((self.rows,), last)], finite[torch.arange(self.rows) % len(finite)]
        self._close(action.act(g @ h, x), action.act(g, action.act(h, x)))

    def test_lie_is_the_derivative(self) -> None:
        """``lie`` is the central difference of ``act`` along every generator."""
        action, group, x = self._setting()
        step = 1e-5
        derivative = action.lie(group, x).detach()
        require(derivative.shape == (self.rows, group.count, *x.shape[1:]), "lie gives (B, K, ...)")
        for k in range(group.count):
            t = torch.zeros(self.rows, group.count, dtype=torch.float64)
            t[:, k] = step
            change = (action.act(group.exp(t), x) - action.act(group.exp(-t), x)).detach() / (2 * step)
            scale = max(float(change.abs().max()), 1e-3)
            require(
                float((derivative[:, k] - change).abs().max()) < 1e-3 * scale, f"lie of generator {k} is a derivative"
            )

    def test_one_element_moves_all(self) -> None:
        """A batch of one element moves every sample."""
        action, group, x = self._setting()
        g = self._element(group, 1)
        assert_close(action.act(g[0], x), action.act(g[torch.zeros(self.rows, dtype=torch.long)], x))

    def test_gradients(self) -> None:
        """They reach the data, learnable generators and learnable representations."""
        action, group, x = self._setting()
        if not self.moves or not x.is_floating_point():
            return
        x.requires_grad_()
        owners, g = [x, *action.parameters()], self._element(group, 1)
        if self.any_map and group.part("space") is not None:
            learned = Learned(count=max(group.count, 1), seed=1).bind(group.dim, affine=group.affine)
            g = self._element(learned, 1)
            owners = owners if list(action.parameters()) else [x, *learned.parameters()]
        action.act(g, x).square().mean().backward()
        for owner in owners:
            gradient = owner.grad
            require(gradient is not None and bool(gradient.isfinite().all()), "gradients are finite")
            require(gradient is not None and bool(gradient.abs().sum() > 0), "gradients arrive")

    def test_types(self) -> None:
        """Data keep their type; short types are moved in float32, with or without autocast."""
        action, group, x = self._setting()
        g = self._element(group, 1)
        if not x.is_floating_point():
            return
        full = action.act(g, x)
        for dtype, tolerance in ((torch.float32, 1e-3), (torch.bfloat16, 0.1), (torch.float16, 0.02)):
            moved, derivative = action.act(g, x.to(dtype)), action.lie(group, x.to(dtype))
            require(moved.is_contiguous() and derivative.is_contiguous(), "results can be viewed")
            require(moved.dtype == dtype and derivative.dtype == dtype, "data keep their type")
            assert_close(moved.double(), full, atol=tolerance * float(full.abs().max()), rtol=tolerance)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under = action.act(g, x.float())
        assert_close(under, action.act(g, x.float()), atol=1e-6, rtol=1e-6)

    def test_whole_numbers(self) -> None:
        """Whole numbers are refused, unless the action says otherwise; then they stay whole."""
        action, group, x = self._setting()
        try:
            moved = action.act(self._element(group, 1), x.long())
        except ActionMismatch:
            require(self.moves and not self.whole_numbers, "whole numbers are accepted")
            return
        require(self.whole_numbers or not self.moves, "whole numbers cannot be moved")
        require(moved.dtype == torch.long and moved.shape == x.shape, "whole numbers stay whole")
        require(self.moves or torch.equal(moved, x.long()), "a still action changes nothing")

    def test_subclasses(self) -> None:
        """A tensor subclass keeps its class and its attributes; the result is that of the plain tensor."""
        action, group, x = self._setting()
        g, dressed = self._element(group, 1), x.clone().as_subclass(_Marked)
        dressed.mark = "kept"
        moved = action.act(g, dressed)
        require(type(moved) is _Marked and moved.__dict__ == {"mark": "kept"}, "class and attributes survive")
        assert_close(moved.as_subclass(Tensor), action.act(g, x), atol=0, rtol=0)

    def test_left_alone(self) -> None:
        """Neither the data nor torch's generator are changed."""
        action, group, x = self._setting()
        before = x.clone()
        with UntouchedGenerator():
            action.act(self._element(group, 1), x)
            action.lie(group, x)
            self._setting()
        require(torch.equal(before, x), "the data are not changed")

    def test_round_trips(self) -> None:
        """Pickles, copies and saved states move alike; the sentence reads back."""
        action, group, x = self._setting()
        g, loaded = self._element(group, 1), self.make()
        loaded.load_state_dict(action.state_dict())
        twins: tuple[Any, ...] = (loaded, pickle.loads(pickle.dumps(action)), copy.deepcopy(action))
        for twin in twins:
            assert_close(twin.act(g, x), action.act(g, x), atol=0, rtol=0)
        again = by_name(action.sentence)
        require(type(again) is type(action) and again.sentence == action.sentence, "the sentence reads back")
