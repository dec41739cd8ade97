"""Find, use and measure symmetries in any Lightning project.

The names below are loaded when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_symmetry.callbacks import (
        EquivarianceRegularizer,
        Expect,
        GeneratorExtraction,
        LearnableAugmentation,
        SymmetryMixin,
        SymmetryMonitor,
    )
    from lightning_symmetry.discovery import Discovery, discover, name_algebra
    from lightning_symmetry.nn import Symmetrized, symmetrize
    from lightning_symmetry.symmetrization import average, conjugate, lie_derivative
    from lightning_symmetry.symmetry import Symmetry

__version__ = "0.1.0"
__all__ = [
    "Discovery",
    "EquivarianceRegularizer",
    "Expect",
    "GeneratorExtraction",
    "LearnableAugmentation",
    "Symmetrized",
    "Symmetry",
    "SymmetryMixin",
    "SymmetryMonitor",
    "average",
    "conjugate",
    "discover",
    "lie_derivative",
    "name_algebra",
    "symmetrize",
]

_HOMES = {
    "Discovery": "discovery",
    "EquivarianceRegularizer": "callbacks",
    "Expect": "callbacks",
    "GeneratorExtraction": "callbacks",
    "LearnableAugmentation": "callbacks",
    "Symmetrized": "nn",
    "Symmetry": "symmetry",
    "SymmetryMixin": "callbacks",
    "SymmetryMonitor": "callbacks",
    "average": "symmetrization",
    "conjugate": "symmetrization",
    "discover": "discovery",
    "lie_derivative": "symmetrization",
    "name_algebra": "discovery",
    "symmetrize": "nn",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
