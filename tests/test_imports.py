"""The house keeps its shape: imports point strictly downward, rooms stay apart, and nothing is called utils."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "lightning_symmetry"
ROOT = Path(__file__).parent.parent / PACKAGE

# From the ground up; neighbours on one floor do not know each other.
FLOORS = [
    {"exceptions"},
    {"functional"},
    {"groups"},
    {"actions"},
    {"samplers"},
    {"paths", "archive", "sentence"},
    {"rows"},
    {"axioms", "inference"},
    {"sides"},
    {"differentiation"},
    {"symmetry"},
    {"symmetrization", "steering"},
    {"losses", "nn", "discovery", "metrics"},
    {"balancing"},  # reads the call that a loss was given
    {"report"},
    {"callbacks"},
    {"audit", "methods", "data", "hosts", "testing"},
    {"lightning_cli", "comparison"},
    {"recipe"},
    {"extract"},
    {"cli"},
    {"__main__"},
]
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}

LIGHTNING_ALLOWED = {"callbacks", "data", "hosts", "methods", "testing", "lightning_cli", "recipe", "extract", "cli"}
SIBLINGS_ALLOWED = {"callbacks", "discovery", "report", "losses", "metrics"}
FOUNDATIONS = {"base", "digits", "element", "flow", "joined", "known", "parts", "grid"}
FOUNDATIONS |= {"polynomials", "precision", "distributed", "ranks"}
FOUNDATIONS |= {"equivariant_maps", "orbits", "tensor_types"}


def modules() -> dict[str, Path]:
    """Dotted name below the package to file; a folder is its `__init__`."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def imports(module: str) -> tuple[str, ...]:
    """Every module that a module imports, wherever in the file, own ones by their name below the package."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import in line {node.lineno}"
            for alias in node.names:
                below = f"{node.module}.{alias.name}".removeprefix(f"{PACKAGE}.")
                is_module = (node.module or "").split(".")[0] == PACKAGE and below in MODULES
                found.add(f"{PACKAGE}.{below}" if is_module else str(node.module))
    return tuple(sorted(found))


def own_imports(module: str) -> list[str]:
    return [name.removeprefix(f"{PACKAGE}.") for name in imports(module) if name.startswith(f"{PACKAGE}.")]


@pytest.mark.parametrize("module", [m for m in MODULES if m])
def test_imports_point_strictly_downward(module: str) -> None:
    room, *inside = module.split(".")
    assert room in FLOOR, f"{room} has no floor: add it to FLOORS where it belongs"
    assert PACKAGE not in imports(module), f"{module} imports the public names instead of their source"
    for target in own_imports(module):
        target_room, *target_inside = target.split(".")
        if target_room != room:
            assert FLOOR[target_room] < FLOOR[room], f"{module} imports {target}, which is not below it"
            continue
        if not inside:
            continue  # a folder's __init__ collects what lies inside
        assert target_inside, f"{module} imports its own folder: a circle"
        if room == "methods":
            assert target_inside[0] == inside[0], f"room {module} imports room {target}"
        elif room not in SIBLINGS_ALLOWED:
            assert target_inside[-1] in FOUNDATIONS, f"{module} imports its sibling {target}"


def test_there_are_no_circles() -> None:
    graph = {}
    for module in MODULES:
        targets = own_imports(module)
        # an __init__ is run before anything in its folder, so it is followed only from other folders
        graph[module] = {t for t in targets if t in MODULES and t != module}
    # a circle raises CycleError, which names it
    assert set(TopologicalSorter(graph).static_order()) >= set(MODULES)


@pytest.mark.parametrize("module", [m for m in MODULES if m])
def test_lightning_stays_in_its_rooms(module: str) -> None:
    foreign = {name.split(".")[0] for name in imports(module)}
    if module.split(".")[0] not in LIGHTNING_ALLOWED:
        assert not foreign & {"lightning", "pytorch_lightning"}, f"{module} imports Lightning"
    if module != "actions.escnn":
        assert "escnn" not in foreign, f"{module} imports escnn; only actions/escnn.py does"


def test_names_say_what_is_inside() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [module for module in MODULES if vague & set(module.split("."))]


def test_the_walk_sees_the_package() -> None:
    assert len(MODULES) > 20
    assert "lightning.pytorch" in imports("hosts")
    assert "functional.random" in own_imports("data.base")
