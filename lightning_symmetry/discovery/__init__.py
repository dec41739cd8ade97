"""Reading a symmetry out of a trained network: evidence, verdict, readable basis, name."""

from __future__ import annotations

from lightning_symmetry.discovery.assembly import assemble
from lightning_symmetry.discovery.discovery import Discovery, GeneratorEvidence
from lightning_symmetry.discovery.evidence import (
    Judgement,
    judge,
    measure_violation,
    random_violation,
)
from lightning_symmetry.discovery.export import to_albumentations, to_kornia, to_torchvision, to_torchvision_snippet
from lightning_symmetry.discovery.law import GeneratorRange, LearntLaw, describe_law, label_generators, width_key
from lightning_symmetry.discovery.naming import Naming, name_generator
from lightning_symmetry.discovery.support import support_coverage

__all__ = [
    "Discovery",
    "GeneratorEvidence",
    "GeneratorRange",
    "Judgement",
    "LearntLaw",
    "Naming",
    "assemble",
    "describe_law",
    "judge",
    "label_generators",
    "measure_violation",
    "name_generator",
    "random_violation",
    "support_coverage",
    "to_albumentations",
    "to_kornia",
    "to_torchvision",
    "to_torchvision_snippet",
    "width_key",
]
