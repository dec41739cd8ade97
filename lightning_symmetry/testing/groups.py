"""The contract of groups."""

from __future__ import annotations

import copy
import pickle
from abc import abstractmethod

import torch
from torch import Tensor
from torch.testing import assert_close

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.groups import AffineMap, Element, Group, by_name
from lightning_symmetry.testing.base import Contract, UntouchedGenerator, require

_PRECISIONS = ((torch.float32, 2e-4), (torch.float64, 1e-9))


def _matrix(g: Element) -> Tensor:
    if not isinstance(g, AffineMap):
        raise AssertionError("the finite part is given by matrices")
    return g.matrix


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

    @abstractmethod
    def make(self) -> Group:
        """Make the group, with or without its dimension."""

    def violation(self, matrix: Tensor) -> Tensor:
        """Say how far matrices lie outside the group.

        Args:
            matrix: (B, n, n) of elements, homogeneous where the group translates.

        Returns:
            Anything that vanishes on the group; by default only broken numbers count.
        """
        return (~matrix.isfinite()).double()

    def _bound(self) -> Group:
        return self.make().bind(self.dim, self.affine)

    def _coordinates(self, group: Group, counter: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        return 0.5 * self.rng(counter).normal(self.rows, group.count, dtype=dtype)

    def _points(self, dtype: torch.dtype = torch.float64) -> Tensor:
        return self.rng(100).normal(self.rows, 4, self.dim, dtype=dtype)

    def test_zero_is_the_identity(self) -> None:
        """``exp(0)`` moves nothing."""
        group = self._bound()
        for dtype, tolerance in _PRECISIONS:
            p = self._points(dtype)
            moved = group.exp(torch.zeros(self.rows, group.count, dtype=dtype))(p)
            assert_close(moved, p, atol=tolerance, rtol=tolerance)

    def test_one_parameter_groups(self) -> None:
        """``exp(s u) exp(t u) = exp((s + t) u)``, in the type of the coordinates."""
        group = self._bound()
        for dtype, tolerance in _PRECISIONS:
            u, p = self._coordinates(group, dtype=dtype), self._points(dtype)
            g, h, product = (group.exp(factor * u) for factor in (0.7, -1.1, -0.4))
            require(g(p).dtype == dtype, "elements have the type of their coordinates")
            assert_close((g @ h)(p), product(p), atol=tolerance, rtol=tolerance)

    def test_field_is_the_velocity(self) -> None:
        """``field`` is the derivative of ``exp`` at 0, by central differences."""
        group = self._bound()
        step, p = 1e-4, self._points()[:1]
        t = step * torch.eye(group.count, dtype=p.dtype)
        change = (group.exp(t)(p) - group.exp(-t)(p)) / (2 * step)
        assert_close(group.field(p)[0].movedim(1, 0), change, atol=1e-6, rtol=1e-6)

    def test_exponential(self) -> None:
        """The closed form is the matrix exponential, and remembers its coordinates."""
        group = self._bound()
        for dtype, tolerance in _PRECISIONS:
            t = self._coordinates(group, dtype=dtype)
            g = group.exp(t)
            expected = torch.matrix_exp(torch.einsum("bk,kij->bij", t, group.basis().to(dtype)))
            assert_close(_matrix(g), expected, atol=tolerance, rtol=tolerance)
            require(g.coordinates is not None and torch.equal(g.coordinates, t), "exp keeps its coordinates")

    def test_basis(self) -> None:
        """The generators are independent; those of a translating group are homogeneous with last row zero."""
        group = self._bound()
        basis = group.basis().detach()
        size = self.dim + group.affine
        require(basis.shape == (group.count, size, size), "the basis is (K, n, n)")
        require(not group.affine or not bool(basis[:, -1].any()), "the last row of a homogeneous generator is zero")
        if group.count:
            require(
                int(torch.linalg.matrix_rank(basis.double().flatten(1))) == group.count, "generators are independent"
            )

    def test_samples(self) -> None:
        """Draws, their products and inverses lie in the group; they depend on the rng alone."""
        group = self._bound().double()
        with UntouchedGenerator():
            g, h = group.sample(8, self.rng(1)), group.sample(8, self.rng(2))
        for element in (g, h, g @ h, ~g):
            violation = self.violation(_matrix(element))
            assert_close(violation, torch.zeros_like(violation), atol=1e-8, rtol=0)
        require(torch.equal(_matrix(g), _matrix(group.sample(8, self.rng(1)))), "the same rng gives the same elements")
        require(not torch.equal(_matrix(g), _matrix(h)), "another counter gives other elements")

    def test_finite_part(self) -> None:
        """It contains the identity, all products and all inverses."""
        group = self._bound().double()
        finite = group.discrete
        if finite is None:
            return
        matrix = _matrix(finite)
        size = matrix.shape[-1]
        products = (matrix[:, None] @ matrix).reshape(-1, size, size)
        wanted = torch.cat((torch.eye(size, dtype=matrix.dtype)[None], products, torch.linalg.inv(matrix)))
        distance = _distances(wanted, matrix).min(1).values
        require(bool((distance < 1e-9).all()), "the finite part is a group")
        gaps = _distances(matrix, matrix) + torch.eye(len(matrix))
        require(bool((gaps > 1e-6).all()), "the elements of the finite part differ")

    def test_round_trips(self) -> None:
        """Pickles, copies and saved states give the same elements, also in a group that is not bound yet."""
        group = self._bound()
        loaded = self.make()
        loaded.load_state_dict(group.state_dict())
        t, p = self._coordinates(group), self._points()
        for twin in (loaded.bind(self.dim, self.affine), pickle.loads(pickle.dumps(group)), copy.deepcopy(group)):
            assert_close(twin.exp(t)(p), group.exp(t)(p), atol=0, rtol=0)
            require((twin.dim, twin.affine, twin.count) == (group.dim, group.affine, group.count), "twins are alike")

    def test_gradients(self) -> None:
        """They reach the coordinates, and the generators of a learnable group."""
        group = self._bound()
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
        require(again.bind(self.dim, self.affine).count == self._bound().count, "the sentence keeps the generators")

    def test_dimension(self) -> None:
        """Binding twice is harmless; another dimension is refused."""
        group = self._bound()
        require(group.bind(self.dim) is group and group.bind(None) is group, "binding again changes nothing")
        try:
            group.bind(self.dim + 1)
        except DimensionMismatch:
            return
        raise AssertionError("another dimension is refused")
