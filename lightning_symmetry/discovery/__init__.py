"""Reading a symmetry out of a trained network: evidence, verdict, readable basis, name."""

from __future__ import annotations

from lightning_symmetry.discovery.assembly import assemble
from lightning_symmetry.discovery.discover import discover
from lightning_symmetry.discovery.discovery import Discovery, GeneratorEvidence
from lightning_symmetry.discovery.evidence import (
    Judgement,
    judge,
    measure_violation,
    random_violation,
)
from lightning_symmetry.discovery.export import to_albumentations, to_kornia, to_torchvision, to_torchvision_snippet
from lightning_symmetry.discovery.extraction import read_generators
from lightning_symmetry.discovery.gram import GeneratorGram
from lightning_symmetry.discovery.law import GeneratorRange, LearntLaw, describe_law, label_generators, width_key
from lightning_symmetry.discovery.naming import Naming, name_generator
from lightning_symmetry.discovery.solution import Solution
from lightning_symmetry.discovery.spectrum import Direction, Spectrum
from lightning_symmetry.discovery.support import support_coverage

__all__ = [
    "Direction",
    "Discovery",
    "GeneratorEvidence",
    "GeneratorGram",
    "GeneratorRange",
    "Judgement",
    "LearntLaw",
    "Naming",
    "Solution",
    "Spectrum",
    "assemble",
    "describe_law",
    "discover",
    "judge",
    "label_generators",
    "measure_violation",
    "name_generator",
    "random_violation",
    "read_generators",
    "support_coverage",
    "to_albumentations",
    "to_kornia",
    "to_torchvision",
    "to_torchvision_snippet",
    "width_key",
]
