"""The contract of elements."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import FrozenInstanceError

import torch
from torch import Tensor
from torch.testing import assert_close

from lightning_symmetry.groups import Element
from lightning_symmetry.testing.base import Contract, require


class ElementContract(Contract):
    """The laws of ``Element``.

    Example:
        >>> from lightning_symmetry.groups import SO, AffineMap
        >>> class TestTurns(ElementContract):
        ...     subject = AffineMap
        ...     def make(self, rows, counter):
        ...         return SO(2).exp(self.rng(counter).normal(rows, 1, dtype=torch.float64))
        >>> TestTurns().test_composition()
    """

    tolerance = 1e-9
    rows = 5

    @abstractmethod
    def make(self, rows: int, counter: int) -> Element:
        """Make elements in float64.

        Args:
            rows: How many.
            counter: Different numbers, different elements.

        Returns:
            ``rows`` elements.
        """

    def points(self, dim: int) -> Tensor:
        """Give points where the elements are defined, (rows, N, dim), float64."""
        return self.rng(100).normal(self.rows, 7, dim, dtype=torch.float64)

    def _close(self, a: Tensor, b: Tensor) -> None:
        assert_close(a, b, atol=self.tolerance, rtol=self.tolerance)

    def test_shape(self) -> None:
        """The number of rows is the length; points keep their shape."""
        g = self.make(self.rows, 0)
        p = self.points(g.dim)
        require(len(g) == self.rows and g(p).shape == p.shape, "B rows move (B, N, d) to (B, N, d)")

    def test_inverse(self) -> None:
        """``~g`` undoes ``g`` from both sides."""
        g = self.make(self.rows, 0)
        p = self.points(g.dim)
        self._close((~g)(g(p)), p)
        self._close((g @ ~g)(p), p)
        self._close((~g @ g)(p), p)

    def test_composition(self) -> None:
        """``(g @ h)(p) = g(h(p))``, and brackets do not matter."""
        g, h, k = (self.make(self.rows, i) for i in range(3))
        p = self.points(g.dim)
        self._close((g @ h)(p), g(h(p)))
        self._close(((g @ h) @ k)(p), (g @ (h @ k))(p))
        self._close((~(g @ h))(p), (~h)((~g)(p)))

    def test_push_is_the_jacobian(self) -> None:
        """Vectors are carried along by the derivative of the map."""
        g = self.make(self.rows, 0)
        p = self.points(g.dim)
        v = self.rng(101).normal(*p.shape, dtype=p.dtype)
        self._close(g.push(v, p), torch.func.jvp(g, (p,), (v,))[1])

    def test_indexing(self) -> None:
        """Selecting rows selects transformations, by every kind of index."""
        g = self.make(self.rows, 0)
        p = self.points(g.dim)
        for index in (slice(1, 4), torch.tensor([3, 0, 0]), torch.arange(self.rows) % 2 == 0, [2, 1]):
            require(len(g[index]) == len(p[index]), "an index selects as many rows as it does in a tensor")
            self._close(g[index](p[index]), g(p)[index])
        self._close(g[2](p[2:3]), g(p)[2:3])

    def test_coordinates(self) -> None:
        """Coordinates follow rows and inverses, and are lost in products."""
        g = self.make(self.rows, 0)
        require((g @ g).coordinates is None, "a product has no coordinates")
        t, opposite, part = g.coordinates, (~g).coordinates, g[1:3].coordinates
        if t is None:
            require(opposite is None and part is None, "coordinates do not appear from nowhere")
        else:
            require(opposite is not None and torch.equal(opposite, -t), "an inverse has the opposite coordinates")
            require(part is not None and torch.equal(part, t[1:3]), "rows keep their coordinates")

    def test_frozen(self) -> None:
        """Elements cannot be changed."""
        try:
            self.make(self.rows, 0).__setattr__("coordinates", None)
        except FrozenInstanceError:
            return
        raise AssertionError("an element is frozen")
