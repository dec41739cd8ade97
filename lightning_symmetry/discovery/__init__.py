"""Reading a symmetry out of a trained network: evidence, verdict, readable basis, name."""

from __future__ import annotations

from lightning_symmetry.discovery.algebra import name_algebra
from lightning_symmetry.discovery.assembly import assemble
from lightning_symmetry.discovery.discovery import Discovery, GeneratorEvidence
from lightning_symmetry.discovery.drift import Drift, check_drift
from lightning_symmetry.discovery.evidence import (
    Judgement,
    judge,
    measure_violation,
    random_violation,
)
from lightning_symmetry.discovery.export import to_albumentations, to_kornia, to_torchvision, to_torchvision_snippet
from lightning_symmetry.discovery.extraction import read_generators
from lightning_symmetry.discovery.forms import InvariantForms, invariant_forms
from lightning_symmetry.discovery.gram import GeneratorGram
from lightning_symmetry.discovery.judging import judge_level, judge_levels
from lightning_symmetry.discovery.law import GeneratorRange, LearntLaw, describe_law, label_generators, width_key
from lightning_symmetry.discovery.level import (
    SymmetryLevel,
    conclude_levels,
    lay_out_levels,
    load_levels,
    rank_correlation,
    save_levels,
)
from lightning_symmetry.discovery.naming import Naming, name_generator
from lightning_symmetry.discovery.nature import Algebra, Ideal
from lightning_symmetry.discovery.noether import Charge, charges_of, generates, noether_charge
from lightning_symmetry.discovery.printing import describe_flow, to_sympy, write_generator, write_latex
from lightning_symmetry.discovery.search import discover
from lightning_symmetry.discovery.solution import Solution
from lightning_symmetry.discovery.spectrum import Direction, Spectrum
from lightning_symmetry.discovery.support import support_coverage
from lightning_symmetry.functional.subspaces import SubspaceDistance, subspace_distance
from lightning_symmetry.steering import to_escnn

__all__ = [
    "Algebra",
    "Charge",
    "Direction",
    "Discovery",
    "Drift",
    "GeneratorEvidence",
    "GeneratorGram",
    "GeneratorRange",
    "Ideal",
    "InvariantForms",
    "Judgement",
    "LearntLaw",
    "Naming",
    "Solution",
    "Spectrum",
    "SubspaceDistance",
    "SymmetryLevel",
    "assemble",
    "charges_of",
    "check_drift",
    "conclude_levels",
    "describe_flow",
    "describe_law",
    "discover",
    "generates",
    "invariant_forms",
    "judge",
    "judge_level",
    "judge_levels",
    "label_generators",
    "lay_out_levels",
    "load_levels",
    "measure_violation",
    "name_algebra",
    "name_generator",
    "noether_charge",
    "random_violation",
    "rank_correlation",
    "read_generators",
    "save_levels",
    "subspace_distance",
    "support_coverage",
    "to_albumentations",
    "to_escnn",
    "to_kornia",
    "to_sympy",
    "to_torchvision",
    "to_torchvision_snippet",
    "width_key",
    "write_generator",
    "write_latex",
]
