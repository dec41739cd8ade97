"""Every part of the package is held to its contract."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import pytest

import lightning_symmetry
from lightning_symmetry.actions import Action
from lightning_symmetry.balancing import Balancer
from lightning_symmetry.callbacks import SymmetryCallback
from lightning_symmetry.groups import Element, Group
from lightning_symmetry.losses import Loss
from lightning_symmetry.metrics import SymmetryMetric
from lightning_symmetry.samplers import Sampler
from lightning_symmetry.testing import (
    ActionContract,
    BalancerContract,
    CallbackContract,
    Contract,
    ElementContract,
    GroupContract,
    LossContract,
    MetricContract,
    SamplerContract,
)

PAIRS: list[tuple[type, type[Contract]]] = [
    (Element, ElementContract),
    (Group, GroupContract),
    (Action, ActionContract),
    (Sampler, SamplerContract),
    (Loss, LossContract),
    (Balancer, BalancerContract),
    (SymmetryMetric, MetricContract),
    (SymmetryCallback, CallbackContract),
]
IDS = [noun.__name__ for noun, _ in PAIRS]


def find_parts(noun: type) -> list[type]:
    """List the concrete classes of a noun, wherever the package defines them."""
    for module in pkgutil.walk_packages(lightning_symmetry.__path__, "lightning_symmetry."):
        if not module.name.endswith("__main__"):
            _import(module.name)
    found, pending = [], [noun]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if not inspect.isabstract(kind) and kind.__module__.startswith("lightning_symmetry."):
            found.append(kind)
    return found


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only what an extra brings may be missing.
        if (error.name or "").startswith("lightning_symmetry"):
            raise


def find_subjects() -> dict[str, set[str]]:
    """Map the name of every contract to the names of the classes that tests hold to it."""
    subjects: dict[str, set[str]] = {}
    for path in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                named = {
                    ast.unparse(line.value).rpartition(".")[2]
                    for line in node.body
                    if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "subject"
                }
                for base in node.bases:
                    subjects.setdefault(ast.unparse(base).rpartition(".")[2], set()).update(named)
    return subjects


@pytest.mark.parametrize(("noun", "contract"), PAIRS, ids=IDS)
def test_every_part_has_a_contract(noun: type, contract: type[Contract]) -> None:
    held = find_subjects().get(contract.__name__, set())
    free = sorted(kind.__name__ for kind in find_parts(noun) if kind.__name__ not in held)
    assert not free, f"write a Test class with subject = {free[0]} that derives from {contract.__name__}"


@pytest.mark.parametrize(("noun", "contract"), PAIRS, ids=IDS)
def test_parts_exist(noun: type, contract: type[Contract]) -> None:
    assert find_parts(noun), f"the walk finds no {noun.__name__}"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="final leaves no mark before Python 3.11")
@pytest.mark.parametrize(("noun", "contract"), PAIRS, ids=IDS)
def test_concrete_parts_are_final(noun: type, contract: type[Contract]) -> None:
    assert [kind.__name__ for kind in find_parts(noun) if not getattr(kind, "__final__", False)] == []
