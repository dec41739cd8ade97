"""Every metric is held to the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lightning_symmetry.metrics import (
    ClosureResidual,
    EquivarianceCurve,
    EquivarianceError,
    GeneratorAlignment,
    GrassmannDistance,
    LieDerivativeError,
    OrbitConsistency,
)
from lightning_symmetry.testing import MetricContract

SENTENCE = "SO(2) on vector(2) -> vector"


class TestLieDerivativeError(MetricContract):
    subject = LieDerivativeError

    def make(self) -> LieDerivativeError:
        return LieDerivativeError(SENTENCE)


class TestAbsoluteLieDerivativeError(TestLieDerivativeError):
    def make(self) -> LieDerivativeError:
        return LieDerivativeError("GL on vector(2) -> scalar", "abs", folds=4)


class TestEquivarianceError(MetricContract):
    subject = EquivarianceError

    def make(self) -> EquivarianceError:
        return EquivarianceError(SENTENCE)


class TestVarianceOfAFiniteGroup(TestEquivarianceError):
    def make(self) -> EquivarianceError:
        return EquivarianceError("C4 on vector(2) -> vector", None, "variance")


class TestOrbitConsistency(MetricContract):
    subject = OrbitConsistency

    def make(self) -> OrbitConsistency:
        return OrbitConsistency("SO(2) on vector(2) -> label")


class TestEquivarianceCurve(MetricContract):
    subject = EquivarianceCurve

    def make(self) -> EquivarianceCurve:
        return EquivarianceCurve(SENTENCE, ts=(0.1, 1.0))


class BasisContract(MetricContract):
    """Of metrics whose updates are whole bases; subclasses name it and the contract, which is looked for by name."""

    def batches(self) -> Sequence[tuple[Any, ...]]:
        return [(self.rng(i).normal(3, 3, 3, dtype=torch.float64),) for i in range(4)]


class TestGeneratorAlignment(BasisContract, MetricContract):
    subject = GeneratorAlignment

    def make(self) -> GeneratorAlignment:
        return GeneratorAlignment("SO(3)")


class TestGrassmannDistance(BasisContract, MetricContract):
    subject = GrassmannDistance

    def make(self) -> GrassmannDistance:
        return GrassmannDistance("SO(3)")


class TestClosureResidual(BasisContract, MetricContract):
    subject = ClosureResidual

    def make(self) -> ClosureResidual:
        return ClosureResidual()
