"""The contract of groups."""

from __future__ import annotations

import copy
import math
import pickle
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.testing import assert_close

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.groups import Element, Group, ValueMap, by_name, restore
from lightning_symmetry.groups.element import Kind
from lightning_symmetry.testing.base import Contract, UntouchedGenerator, require

_NODES = 4


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] - b).abs().amax((-2, -1))


class GroupContract(Contract):
    """The laws of ``Group``.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> class TestTurns(GroupContract):
        ...     subject = SO
        ...     def make(self):
        ...         return SO(2)
        >>> TestTurns().test_field_is_the_velocity()
    """

    dim = 2
    affine: bool | None = None
    rows = 6
    precisions: ClassVar[tuple[tuple[torch.dtype, float], ...]] = ((torch.float32, 2e-4), (torch.float64, 1e-9))
    """What rounding (and, for flows, integration) may do to points, in each type."""

    @abstractmethod
    def make(self) -> Group:
        """Make the group, with or without its dimension."""

    def violation(self, matrix: Tensor) -> Tensor:
        """Say how far matrices lie outside the group.

        Args:
            matrix: (B, n, n) of elements, homogeneous where the group translates; of elements that have none, the
                points (B, N, d) that they make of some others.

        Returns:
            Anything that vanishes on the group; by default only broken numbers count.
        """
        return (~matrix.isfinite()).double()

    def _bind(self, group: Group) -> Group:
        group.bind(self.dim, self.affine)
        nodes = group.part("nodes")
        if nodes is not None:
            nodes.bind(_NODES)
        return group

    def _bound(self) -> Group:
        return self._bind(self.make())

    def _coordinates(self, group: Group, counter: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        return 0.5 * self.rng(counter).normal(self.rows, group.count, dtype=dtype)

    def _points(self, dtype: torch.dtype = torch.float64) -> Tensor:
        return self.rng(100).normal(self.rows, _NODES, self.dim, dtype=dtype)

    def _moved(self, g: Element) -> Tensor:
        """Tell elements apart by what they make of points in general position."""
        return g(self._points()[:1].expand(len(g), -1, -1))

    def _matrix(self, g: Element) -> Tensor:
        matrix = getattr(g.part("space") or g, "matrix", None)
        return matrix if isinstance(matrix, Tensor) else self._moved(g)

    def test_zero_is_the_identity(self) -> None:
        """``exp(0)`` moves nothing."""
        group = self._bound()
        for dtype, tolerance in self.precisions:
            p = self._points(dtype)
            moved = group.exp(torch.zeros(self.rows, group.count, dtype=dtype))(p)
            assert_close(moved, p, atol=tolerance, rtol=tolerance)

    def test_one_parameter_groups(self) -> None:
        """``exp(s u) exp(t u) = exp((s + t) u)``, in the type of the coordinates."""
        group = self._bound()
        for dtype, tolerance in self.precisions:
            u, p = self._coordinates(group, dtype=dtype), self._points(dtype)
            g, h, product = (group.exp(factor * u) for factor in (0.7, -1.1, -0.4))
            require(g(p).dtype == dtype, "elements have the type of their coordinates")
            assert_close((g @ h)(p), product(p), atol=tolerance, rtol=tolerance)

    def test_field_is_the_velocity(self) -> None:
        """``field`` is the derivative of ``exp`` at 0, by central differences."""
        group = self._bound()
        if not group.count:
            require(group.field(self._points()).shape == (self.rows, _NODES, 0, self.dim), "there is no velocity")
            return
        step, p = 1e-4, self._points()[:1]
        t = step * torch.eye(group.count, dtype=p.dtype)
        change = (group.exp(t)(p) - group.exp(-t)(p)) / (2 * step)
        assert_close(group.field(p)[0].movedim(1, 0), change, atol=1e-6, rtol=1e-6)

    def test_exponential(self) -> None:
        """The closed form is the matrix exponential, or the flow of the field; it remembers its coordinates."""
        group = self._bound()
        for dtype, tolerance in self.precisions:
            t = self._coordinates(group, dtype=dtype)
            g = group.exp(t)
            if not group.linear:
                p = self._points(dtype)
                assert_close(g(p), self._follow(group, t, p), atol=tolerance, rtol=tolerance)
            elif group.part("nodes") is not group:
                expected = torch.matrix_exp(torch.einsum("bk,kij->bij", t, group.basis().to(dtype)))
                matrix, values = self._matrix(g), g.part("values")
                size = matrix.shape[-1]
                assert_close(matrix, expected[:, :size, :size], atol=tolerance, rtol=tolerance)
                if size < expected.shape[-1]:
                    require(isinstance(values, ValueMap), "the last rows and columns change values")
                    assert_close(self._matrix(values or g), expected[:, size:, size:], atol=tolerance, rtol=tolerance)
            require(g.coordinates is not None and torch.equal(g.coordinates, t), "exp keeps its coordinates")

    def _follow(self, group: Group, t: Tensor, p: Tensor, steps: int = 400) -> Tensor:
        """Follow the field of a combination by many small steps of the classical rule."""
        h = 1 / steps

        def velocity(q: Tensor) -> Tensor:
            return (group.field(q) * t[:, None, :, None]).sum(2)

        with torch.no_grad():
            for _ in range(steps):
                a = velocity(p)
                b = velocity(p + h / 2 * a)
                c = velocity(p + h / 2 * b)
                p = p + h / 6 * (a + 2 * b + 2 * c + velocity(p + h * c))
        return p

    def test_basis(self) -> None:
        """The generators are independent and fit their pattern; homogeneous ones have last row zero."""
        group = self._bound()
        numbers = group.coefficients().detach()
        if group.linear:
            # beside a space, values have a block of their own
            size = self.dim + group.affine + 2 * (group.part("values") not in (None, group))
            require(torch.equal(group.basis(), group.coefficients()), "the coefficients are the basis")
            require(numbers.shape == (group.count, size, size), "the basis is (K, n, n)")
            require(not group.affine or not bool(numbers[:, -1].any()), "the last row of a homogeneous one is zero")
        pattern = group.pattern().detach()
        require(pattern.shape == numbers.shape[1:], "the pattern has the shape of a generator")
        require(not bool((numbers * (pattern == 0)).any()), "generators fit the pattern")
        assert_close(group.norms().detach(), numbers.flatten(1).norm(dim=1))
        require(len(group.learnt()) == group.count, "each generator is learnt or not")
        if group.count:
            rank = int(torch.linalg.matrix_rank(numbers.double().flatten(1)))
            require(rank == group.count, "generators are independent")
            t, p = self._coordinates(group), self._points()
            assert_close(group.fix().exp(t)(p), group.exp(t)(p), atol=1e-6, rtol=1e-6)
            require(not group.fix().learnable, "a fixed group is not learnable")

    def test_parts(self) -> None:
        """Each part has the generators that its columns name, and moves as they do."""
        group = self._bound()
        t = self._coordinates(group)
        kinds: tuple[Kind, ...] = ("space", "nodes", "values")
        for kind in kinds:
            part, moved, columns = group.part(kind), group.exp(t).part(kind), group.columns(kind)
            require((part is None) == (moved is None), "elements move what the group moves")
            require(len(columns) == (0 if part is None else part.count), "a part has a column for each generator")
            if part is not None and moved is not None:
                p = self.rng(100).normal(self.rows, _NODES, 1 if kind == "values" else self.dim, dtype=torch.float64)
                assert_close(part.exp(t[:, columns])(p), moved(p), atol=1e-9, rtol=1e-9)

    def test_field_is_linear_in_the_coordinates(self) -> None:
        """A combination of generators has the combination of their fields."""
        group = self._bound()
        mixed = torch.tensor([math.cos(k + 1) for k in range(group.count)], dtype=torch.float64)
        if not group.count:
            return
        one = group.fix(torch.tensordot(mixed, group.coefficients().detach().double(), 1)[None])
        expected = (group.field(self._points()) * mixed[:, None]).sum(2)
        assert_close(one.field(self._points())[:, :, 0], expected, atol=1e-6, rtol=1e-6)

    def test_samples(self) -> None:
        """Draws, their products and inverses lie in the group; they depend on the rng alone."""
        group = self._bound().double()
        with UntouchedGenerator():
            g, h = group.sample(8, self.rng(1)), group.sample(8, self.rng(2))
        for element in (g, h, g @ h, ~g) if group.closed else (g, h, ~g):
            violation = self.violation(self._matrix(element))
            assert_close(violation, torch.zeros_like(violation), atol=1e-8, rtol=0)
        same = self._moved(group.sample(8, self.rng(1)))
        require(torch.equal(self._moved(g), same), "the same rng gives the same elements")
        require(not torch.equal(self._moved(g), self._moved(h)), "another counter gives other elements")

    def test_selection(self) -> None:
        """What takes no part in a draw stays still, coordinates and finite part alike."""
        group = self._bound().double()
        t = self._coordinates(group).unsqueeze(1)
        active = torch.arange(self.rows).unsqueeze(1) % 2 == 0
        t, finite = group.select(t, self.rng(3), active)
        g = group.exp(t.flatten(0, 1))
        p = self._points()
        moved = (g if finite is None else g @ finite)(p)
        assert_close(moved[1::2], p[1::2], atol=1e-12, rtol=0)
        if finite is not None:
            drawn = group.draw_finite(self.rng(3), self.rows, 2)
            require(drawn is not None and len(drawn) == 2 * self.rows, "B*n elements of the finite part are drawn")

    def test_finite_part(self) -> None:
        """It lists each element once, the identity first, and contains all products and all inverses."""
        group = self._bound().double()
        finite = group.discrete
        if finite is None:
            return
        moved = self._moved(finite)
        assert_close(moved[:1], self._points()[:1], atol=1e-9, rtol=0)
        gaps = _distances(moved, moved) + torch.eye(len(moved))
        require(bool((gaps > 1e-6).all()), "the elements of the finite part differ")
        order = torch.arange(len(finite))
        wanted = [self._moved(~finite)]
        if group.closed:
            wanted.append(self._moved(finite[order.repeat_interleave(len(order))] @ finite[order.repeat(len(order))]))
        require(bool((_distances(torch.cat(wanted), moved).amin(1) < 1e-9).all()), "the finite part is a group")

    def test_round_trips(self) -> None:
        """Pickles, copies and saved states give the same elements, also in a group that is not bound yet."""
        group = self._bound()
        loaded = self.make()
        loaded.load_state_dict(group.state_dict())
        t, p = self._coordinates(group), self._points()
        for twin in (self._bind(loaded), pickle.loads(pickle.dumps(group)), copy.deepcopy(group)):
            assert_close(twin.exp(t)(p), group.exp(t)(p), atol=0, rtol=0)
            require((twin.dim, twin.affine, twin.count) == (group.dim, group.affine, group.count), "twins are alike")
        if group.count:
            written = self._bind(restore(group.dump()))
            assert_close(written.exp(t)(p), group.exp(t)(p), atol=1e-9, rtol=1e-9)
            require(not written.learnable, "a written group is fixed")

    def test_gradients(self) -> None:
        """They reach the coordinates, and the generators of a learnable group."""
        group = self._bound()
        if not group.count:
            return
        t = self._coordinates(group).requires_grad_()
        group.exp(t)(self._points()).square().sum().backward()
        require(t.grad is not None and bool(t.grad.isfinite().all()), "gradients reach the coordinates")
        for parameter in group.parameters():
            gradient = parameter.grad
            require(gradient is not None and bool(gradient.abs().sum() > 0), "gradients reach the generators")
        require(group.learnable == any(True for _ in group.parameters()), "a learnable group has parameters")

    def test_sentence(self) -> None:
        """The sentence makes the group again, and binding does not change it."""
        group = self.make()
        again = by_name(group.sentence)
        require(type(again) is type(group) and again.sentence == group.sentence, "the sentence reads back")
        require(self._bound().sentence == group.sentence, "binding keeps the sentence")
        require(self._bind(again).count == self._bound().count, "the sentence keeps the generators")

    def test_dimension(self) -> None:
        """Binding twice is harmless; another dimension is refused."""
        group = self._bound()
        require(group.bind(self.dim) is group and group.bind(None) is group, "binding again changes nothing")
        try:
            group.bind(self.dim + 1)
        except DimensionMismatch:
            return
        raise AssertionError("another dimension is refused")
