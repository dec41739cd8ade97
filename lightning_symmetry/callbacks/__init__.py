"""The seam into Lightning: callbacks that are added to a Trainer and leave no trace in the module."""

from lightning_symmetry.callbacks.augmentation import LearnableAugmentation
from lightning_symmetry.callbacks.conservation import ConservationCheck
from lightning_symmetry.callbacks.engine import SymmetryCallback
from lightning_symmetry.callbacks.expect import Expect
from lightning_symmetry.callbacks.extraction import GeneratorExtraction
from lightning_symmetry.callbacks.layerwise import LayerwiseLieDerivative
from lightning_symmetry.callbacks.mixin import SymmetryMixin
from lightning_symmetry.callbacks.monitor import SymmetryMonitor
from lightning_symmetry.callbacks.regularizer import EquivarianceRegularizer

__all__ = [
    "ConservationCheck",
    "EquivarianceRegularizer",
    "Expect",
    "GeneratorExtraction",
    "LayerwiseLieDerivative",
    "LearnableAugmentation",
    "SymmetryCallback",
    "SymmetryMixin",
    "SymmetryMonitor",
]
