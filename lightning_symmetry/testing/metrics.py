"""The contract of metrics."""

from __future__ import annotations

import pickle
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.metrics import SymmetryMetric
from lightning_symmetry.testing.base import Contract, UntouchedGenerator, require


class MetricContract(Contract):
    """The laws of ``SymmetryMetric``.

    Example:
        >>> from lightning_symmetry.metrics import EquivarianceError
        >>> class TestEquivarianceError(MetricContract):
        ...     subject = EquivarianceError
        ...     def make(self):
        ...         return EquivarianceError("SO(2) on vector(2) -> vector")
        >>> TestEquivarianceError().test_sums_add()
    """

    @abstractmethod
    def make(self) -> SymmetryMetric:
        """Make the metric, of rotations of vectors of the plane where it has a symmetry."""

    def batches(self) -> Sequence[tuple[Any, ...]]:
        """Give the arguments of four updates: by default a map that has no symmetry, and samples."""

        def f(x: Tensor) -> Tensor:
            return x * x.norm(dim=1, keepdim=True) + torch.cat((x[:, 1:].square(), 0.3 * x[:, :1]), 1)

        return [(f, self.rng(i).normal(12, 2, dtype=torch.float64)) for i in range(4)]

    def measure(self, batches: Sequence[tuple[Any, ...]], first: int = 0) -> SymmetryMetric:
        """Update a fresh metric, as if ``first`` batches had gone before."""
        metric = self.make()
        metric.batches = first
        for batch in batches:
            metric.update(*batch)
        return metric

    def test_sums_add(self) -> None:
        """Two halves merged are the whole, standard errors included."""
        batches = self.batches()
        whole, half = self.measure(batches), self.measure(batches[:2])
        half.merge_state(self.measure(batches[2:], first=2))
        _require_same(whole.compute(), half.compute(), "two halves are the whole")

    def test_values(self) -> None:
        """Numbers are finite scalars in double precision, named in plain words, with a standard error where told."""
        found = self.measure(self.batches()).compute()
        require(bool(found), "there are numbers")
        for key, value in found.items():
            require(value.shape == () and value.dtype == torch.float64, f"{key} is one number in double precision")
            require(bool(value.isfinite()) and (not key.endswith("_se") or bool(value >= 0)), f"{key} is finite")

    def test_reproducible(self) -> None:
        """The same data give the same numbers, after a reset and a pickle too; nothing else is touched."""
        batches = self.batches()
        kept = [[part.clone() if isinstance(part, Tensor) else part for part in batch] for batch in batches]
        with UntouchedGenerator():
            metric = self.measure(batches)
            first = metric.compute()
        again = pickle.loads(pickle.dumps(metric))
        _require_same(first, again.compute(), "a pickle keeps the sums")
        again.reset()
        for batch in batches:
            again.update(*batch)
        _require_same(first, again.compute(), "a reset begins anew")
        for batch, before in zip(batches, kept, strict=True):
            pairs = [(a, b) for a, b in zip(batch, before, strict=True) if isinstance(a, Tensor)]
            require(all(torch.equal(a, b) for a, b in pairs), "the data stay as they were")

    def test_batch_values(self) -> None:
        """Called, it gives the batch's value and goes on adding."""
        batches = self.batches()
        metric = self.make()
        first = metric(*batches[0])
        _require_same(first, self.measure(batches[:1]).compute(), "the value of a batch")
        metric(*batches[1])
        require(metric.samples > self.measure(batches[:1]).samples, "sums go on")


def _require_same(a: dict[str, Tensor], b: dict[str, Tensor], law: str) -> None:
    require(a.keys() == b.keys(), law)
    for key, value in a.items():
        require(torch.allclose(value, b[key], rtol=1e-9, atol=1e-12, equal_nan=True), f"{law}: {key}")
