"""Metrics of symmetry: torchmetrics that add up over batches and devices, with standard errors."""

from __future__ import annotations

from lightning_symmetry.metrics.algebra import ClosureResidual, GeneratorAlignment, GrassmannDistance
from lightning_symmetry.metrics.base import SymmetryMetric
from lightning_symmetry.metrics.curve import EquivarianceCurve
from lightning_symmetry.metrics.equivariance import EquivarianceError
from lightning_symmetry.metrics.layerwise import LayerDerivatives, layerwise_lie_derivative
from lightning_symmetry.metrics.level import ApproximateSymmetryLevel
from lightning_symmetry.metrics.lie_derivative import LieDerivativeError
from lightning_symmetry.metrics.orbit import OrbitConsistency

__all__ = [
    "ApproximateSymmetryLevel",
    "ClosureResidual",
    "EquivarianceCurve",
    "EquivarianceError",
    "GeneratorAlignment",
    "GrassmannDistance",
    "LayerDerivatives",
    "LieDerivativeError",
    "OrbitConsistency",
    "SymmetryMetric",
    "layerwise_lie_derivative",
]
