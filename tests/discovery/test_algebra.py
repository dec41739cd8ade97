"""Names of Lie algebras, whatever the basis they are given in, and honest words where there is none."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.discovery import (
    Algebra,
    describe_flow,
    invariant_forms,
    name_algebra,
    to_sympy,
    write_generator,
    write_latex,
)
from lightning_symmetry.discovery.atlas import find_named, list_named
from lightning_symmetry.discovery.bases import read_basis
from lightning_symmetry.discovery.printing import snap
from lightning_symmetry.discovery.simple import find_simple
from lightning_symmetry.discovery.structure import read_structure
from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.lie_algebra import compress
from lightning_symmetry.functional.polynomials import list_monomials
from lightning_symmetry.functional.spans import orthonormal_span
from lightning_symmetry.groups import (
    GL,
    SE,
    SL,
    SO,
    Affine,
    AnisotropicScaling,
    Lorentz,
    PolynomialField,
    Scale,
    Symplectic,
    Translation,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def matrix(size: int, entries: dict[tuple[int, int], float]) -> Tensor:
    found = torch.zeros(size, size, dtype=torch.float64)
    for place, value in entries.items():
        found[place] = value
    return found


def with_translations(linear: Tensor) -> Tensor:
    size = linear.shape[-1]
    shifts = torch.stack([matrix(size + 1, {(i, size): 1}) for i in range(size)])
    return torch.cat((F.pad(linear.double(), (0, 1, 0, 1)), shifts))


QUATERNIONS = torch.stack(
    [
        matrix(4, {(0, 1): -0.5, (1, 0): 0.5, (2, 3): -0.5, (3, 2): 0.5}),
        matrix(4, {(0, 2): -0.5, (2, 0): 0.5, (1, 3): 0.5, (3, 1): -0.5}),
        matrix(4, {(0, 3): -0.5, (3, 0): 0.5, (1, 2): -0.5, (2, 1): 0.5}),
    ]
)
HEISENBERG = torch.stack([matrix(3, {(0, 1): 1}), matrix(3, {(1, 2): 1}), matrix(3, {(0, 2): 1})])

# name -> basis, dimension of [g, g], centre, radical, inertia of the Killing form, rank
TABLE: dict[str, tuple[Tensor, int, int, int, tuple[int, int, int], int]] = {
    "so(2)": (SO(2).basis(), 0, 1, 1, (0, 0, 1), 1),
    "R": (Scale(2).basis(), 0, 1, 1, (0, 0, 1), 1),
    "R^2": (AnisotropicScaling(2).basis(), 0, 2, 2, (0, 0, 2), 2),
    "aff(1)": (with_translations(torch.ones(1, 1, 1)), 1, 0, 2, (1, 0, 1), 1),
    "so(3)": (SO(3).basis(), 3, 0, 0, (0, 3, 0), 1),
    "su(2)": (QUATERNIONS, 3, 0, 0, (0, 3, 0), 1),
    "sl(2,R)": (SL(2).basis(), 3, 0, 0, (2, 1, 0), 1),
    "so(1,2)": (Lorentz(3).basis(), 3, 0, 0, (2, 1, 0), 1),
    "heisenberg": (HEISENBERG, 1, 1, 3, (0, 0, 3), 3),
    "se(2)": (SE(2).basis(), 2, 0, 3, (0, 1, 2), 1),
    "e(1,1)": (with_translations(Lorentz(2).basis()), 2, 0, 3, (1, 0, 2), 1),
    "gl(2,R)": (GL(2).basis(), 3, 1, 1, (2, 1, 1), 2),
    "so(4)": (SO(4).basis(), 6, 0, 0, (0, 6, 0), 2),
    "so(1,3)": (Lorentz(4).basis(), 6, 0, 0, (3, 3, 0), 2),
    "se(3)": (SE(3).basis(), 6, 0, 3, (0, 3, 3), 2),
    "sl(3,R)": (SL(3).basis(), 8, 0, 0, (5, 3, 0), 2),
    "so(5)": (SO(5).basis(), 10, 0, 0, (0, 10, 0), 2),
    "sp(4,R)": (Symplectic(4).basis(), 10, 0, 0, (6, 4, 0), 2),
    "poincare(1,3)": (with_translations(Lorentz(4).basis()), 10, 0, 4, (3, 3, 4), 2),
}


def near_rotation(size: int, seed: int) -> Tensor:
    """A random change of basis that stretches by e^(1/2) at most: what is noise must not be blown up at will."""
    left, right = (torch.linalg.qr(normal(size, size, seed=seed + k))[0] for k in (0, 50))
    return left @ torch.diag(torch.exp(torch.linspace(-0.5, 0.5, size, dtype=torch.float64))) @ right


def disguise(basis: Tensor, seed: int, noise: float = 0.0) -> Tensor:
    """Another basis of the algebra, in another basis of the space, with noise relative to the typical entry."""
    basis = basis.double()
    similarity, mixing = near_rotation(basis.shape[1], 100 + seed), near_rotation(len(basis), 200 + seed)
    moved = torch.einsum("kl,lij->kij", mixing, similarity @ basis @ torch.linalg.inv(similarity))
    return moved + noise * moved.square().mean().sqrt() * normal(*moved.shape, seed=300 + seed)


@cache
def field(terms: tuple[tuple[int, tuple[int, ...], float], ...], dim: int = 3) -> Tensor:
    """A field of degree two from (component, monomial, coefficient)."""
    monomials = list_monomials(dim, 2)
    numbers = torch.zeros(dim, len(monomials), dtype=torch.float64)
    for component, monomial, value in terms:
        numbers[component, monomials.index(monomial)] = value
    return numbers


# The symmetries of u_t + u u_x + u_xxx = 0 on (t, x, u): both translations, the boost t d_x + d_u, the scaling.
KDV = torch.stack(
    [
        field(((0, (), 1.0),)),
        field(((1, (), 1.0),)),
        field(((1, (0,), 1.0), (2, (), 1.0))),
        field(((1, (1,), 1.0), (0, (0,), 3.0), (2, (2,), -2.0))),
    ]
)


@pytest.mark.parametrize("name", TABLE)
def test_every_algebra_of_the_table_is_named_in_any_basis(name: str) -> None:
    basis, derived, centre, radical, inertia, rank = TABLE[name]
    for found in (name_algebra(basis), name_algebra(disguise(basis, 1)), name_algebra(disguise(basis, 2))):
        assert found.name == name
        assert found.closure < 1e-10
        assert found.jacobi < 1e-10
        assert (found.derived or (found.dim,))[0] == derived
        assert (found.centre, found.radical, found.inertia, found.rank) == (centre, radical, inertia, rank)


@pytest.mark.slow
def test_names_survive_one_per_cent_of_noise() -> None:
    wrong = [
        (name, seed, found.name)
        for name, (basis, *_) in TABLE.items()
        for seed in range(5)
        if (found := name_algebra(disguise(basis, seed, 0.01))).name != name
    ]
    assert len(wrong) <= 0.05 * 5 * len(TABLE), wrong


@pytest.mark.parametrize("name", ["so(3)", "so(1,3)", "se(3)", "poincare(1,3)"])
def test_noisy_algebras_keep_their_names(name: str) -> None:
    found = name_algebra(disguise(TABLE[name][0], 7, 0.01))
    assert found.name == name
    assert 0 < found.closure < 0.05


def test_errors_say_which_brackets_are_noise() -> None:
    # three commuting stretches with noise: brackets are small, and all of them are outside the span
    truth = AnisotropicScaling(3).basis().double()
    noisy = truth + 0.01 * normal(3, 3, 3)
    assert name_algebra(noisy, errors=0.01).name == "R^3"
    assert name_algebra(noisy).name == "R^3"


def test_directions_within_their_errors_are_dropped() -> None:
    spare = torch.cat((SO(3).basis().double(), torch.zeros(1, 3, 3))) + 0.01 * normal(4, 3, 3)
    found = name_algebra(spare, errors=0.01)
    assert (found.name, found.dim) == ("so(3)", 3)


@pytest.mark.parametrize("seed", range(5))
def test_random_matrices_are_not_closed(seed: int) -> None:
    found = name_algebra(normal(6, 4, 4, seed=seed))
    assert not found.closed
    assert found.name.startswith("not closed (closure 0.")
    assert found.closure > 0.3
    assert len(found.missing) > 5
    assert found.killing is None


def test_a_missing_generator_is_told() -> None:
    found = name_algebra(SO(3).basis()[:2])
    assert not found.closed
    assert len(found.missing) == 1
    lacking = SO(3).basis()[2].double()
    assert abs(float((found.missing[0] * lacking).sum() / lacking.norm())) == pytest.approx(1)
    assert found.notes == ("with 1 more generator, its missing brackets, it is so(3)",)
    assert name_algebra(KDV[[0, 2]]).notes == ("with 1 more generator, its missing brackets, it is heisenberg",)


def test_the_symmetries_of_kdv_are_heisenbergs_and_a_scaling() -> None:
    found = name_algebra(KDV)
    assert found.name == "solvable of dimension 4, derived 3"
    assert found.nilpotent == "heisenberg"
    assert found.derived == (3, 1, 0)
    assert name_algebra(KDV[:3]).name == "heisenberg"
    weights = sorted(w.real for w in found.weights)
    # 3, 1, -2 up to a factor
    ratios = [w / max(weights, key=abs) for w in weights]
    assert min(ratios) == pytest.approx(-2 / 3) or max(ratios) == pytest.approx(1)
    assert sum(abs(w) for w in weights) == pytest.approx(2)
    mixed = torch.einsum("kl,lij->kij", near_rotation(4, 3), KDV)
    assert name_algebra(mixed).nilpotent == "heisenberg"
    assert name_algebra(PolynomialField(2, coefficients=mixed)).name == found.name


def test_quadratic_fields_of_the_line_are_projective() -> None:
    line = torch.tensor([[[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]])
    found = name_algebra(line)
    assert found.name == "sl(2,R)"
    assert "x^2 d/dx" in " ".join(found.generators)
    assert "nonlinear flow, of degree 2" in str(found)


def test_affine_fields_are_named_as_their_matrices() -> None:
    fields = SE(2).basis()[:, :2]
    assert name_algebra(fields).name == name_algebra(SE(2)).name == "se(2)"


def test_groups_of_the_package_are_named() -> None:
    names = {
        "so(6)": SO(6),
        "gl(3,R)": GL(3),
        "aff(2)": Affine(2),
        "R^3": Translation(3),
        "sp(6,R)": Symplectic(6),
        "so(1,4)": Lorentz(5),
        "se(4)": SE(4),
    }
    assert {name_algebra(group).name for group in names.values()} == set(names)


def test_direct_sums_are_split() -> None:
    blocks = torch.cat((F.pad(SO(3).basis(), (0, 3, 0, 3)), F.pad(SO(3).basis(), (3, 0, 3, 0))))
    for basis in (blocks, disguise(blocks, 0), disguise(blocks, 1, 0.01)):
        found = name_algebra(basis)
        assert found.name == "so(3) + so(3)"
        assert [one.dim for one in found.ideals] == [3, 3]
    assert name_algebra(torch.cat((SO(3).basis(), Scale(3).basis()))).name == "so(3) + R"
    split = name_algebra(SO(4))
    assert [one.name for one in split.ideals] == ["su(2)", "su(2)"]
    assert len(split.generators) == 6
    assert "x0 d/dx1 - x1 d/dx0" in split.generators


def test_semidirect_sums_without_a_name_say_what_they_consist_of() -> None:
    # rotations of space on two copies of it
    turns = torch.stack([torch.block_diag(g, g) for g in SO(3).basis().double()])
    found = name_algebra(with_translations(turns))
    assert found.name == "so(3) semidirect R^6"
    assert found.levi == ("so(3)", "R^6")


def test_scaling_and_turning_translations_are_told_apart() -> None:
    def plane(block: list[list[float]]) -> str:
        return name_algebra(with_translations(torch.tensor([block]))).name

    assert plane([[0, -1], [1, 0]]) == "se(2)"
    assert plane([[1, 0], [0, -1]]) == "e(1,1)"
    assert plane([[1, 0], [0, 1]]) == "scaling with R^2"
    # two of the families with a parameter, which have no name of their own
    assert plane([[1, 0], [0, 2]]) == plane([[1, -1], [1, 1]]) == "solvable of dimension 3, derived 2"


def test_an_atlas_entry_is_found_by_its_own_name_only() -> None:
    for name, basis in list_named():
        structure = read_structure(read_basis(disguise(basis, 3)).constants, 0.0)
        assert find_named(structure) == (name,)
        assert not structure.contradiction


def test_algebras_that_numbers_do_not_separate_are_all_named() -> None:
    assert [[one.name for one in same] for same in find_simple(21, 0, 21)] == [["so(7)"], ["usp(6)"]]
    adjoint = name_algebra(SO(7)).constants.mT
    # on its own 21 dimensions nothing tells which it is
    assert name_algebra(adjoint).name == "several algebras fit: so(7), usp(6)"
    assert name_algebra(SO(7)).name == "so(7)"


def test_simple_algebras_have_the_dimension_of_their_killing_form() -> None:
    for dim in range(3, 40):
        for boosts in range(dim + 1):
            for same in find_simple(dim, boosts, dim - boosts):
                assert len({(one.dim, one.boosts) for one in same}) == 1
    assert [[one.name for one in same] for same in find_simple(15, 8, 7)] == [["so(2,4)", "su(2,2)"]]
    assert find_simple(4, 0, 4) == ()


def test_dimensions_that_theorems_forbid_are_noticed() -> None:
    structure = read_structure(name_algebra(SE(3)).constants, 0.0)
    assert not structure.contradiction
    random = normal(4, 4, 4)
    assert read_structure(random - random.transpose(0, 1), 0.0).contradiction
    assert find_named(structure) == ("se(3)",)
    assert find_named(read_structure(compress(structure.constants, torch.eye(6, dtype=torch.float64)), 0)) == ("se(3)",)


def test_rotations_and_boosts_are_split_by_the_killing_form() -> None:
    mixing = torch.linalg.qr(normal(6, 6))[0]
    mixed = torch.einsum("kl,lij->kij", mixing, orthonormal_span(Lorentz(4).basis()))
    found = name_algebra(mixed)
    flows = [row[1] for row in found.rows()[1]]
    assert flows == ["rotation, period 2 pi"] * 3 + ["boost"] * 3
    assert found.generators[3:] == ("x1 d/dx0 + x0 d/dx1", "x2 d/dx0 + x0 d/dx2", "x3 d/dx0 + x0 d/dx3")
    torch.testing.assert_close(found.basis[:3], Lorentz(4).basis()[3:].double(), atol=1e-7, rtol=0)


def test_the_casimir_operator_tells_the_spin() -> None:
    # with [J_x, J_y] = J_z, sum J^2 = -j (j + 1) is minus twice ours
    torch.testing.assert_close(torch.tensor(name_algebra(SO(3)).casimir), torch.ones(3))
    torch.testing.assert_close(torch.tensor(name_algebra(QUATERNIONS).casimir), torch.full((4,), 0.375))
    assert name_algebra(SE(2)).casimir == ()


def test_resamples_say_how_often_the_name_comes_out() -> None:
    folds = [disguise(Lorentz(4).basis(), seed, 0.01) for seed in range(6)]
    found = name_algebra(Lorentz(4), resamples=folds)
    assert found.folds == (("so(1,3)", 6),)
    assert "so(1,3) in 6/6 folds" in found.facts()
    assert "6/6 folds agree" in found.conclusion
    mixed = name_algebra(Lorentz(4), resamples=[*folds[:2], normal(6, 4, 4)])
    assert dict(mixed.folds)["so(1,3)"] == 2
    assert sum(count for _, count in mixed.folds) == 3


def test_the_metric_of_a_disguised_lorentz_group_is_found() -> None:
    similarity = near_rotation(4, 1)
    moved = similarity @ Lorentz(4).basis().double() @ torch.linalg.inv(similarity)
    inverse = torch.linalg.inv(similarity)
    truth = inverse.mT @ torch.diag(torch.tensor([1.0, -1, -1, -1], dtype=torch.float64)) @ inverse
    noisy = moved + 0.003 * moved.square().mean().sqrt() * normal(6, 4, 4)
    for basis, least in ((moved, 1 - 1e-10), (noisy, 0.9999)):
        found = invariant_forms(basis)
        assert found.signatures == ((1, 3, 0),)
        assert found.metric is not None
        assert float((found.metric * truth).sum() / found.metric.norm() / truth.norm()) > least
        assert found.symplectic is None


def test_forms_of_known_groups() -> None:
    assert str(invariant_forms(SO(4))) == "1 symmetric form, signature (4,0)"
    assert str(invariant_forms(Symplectic(4))) == "1 skew form, rank 4"
    assert str(invariant_forms(GL(2))) == "no invariant form"
    assert invariant_forms(SE(3)).metric is not None
    symplectic = invariant_forms(Symplectic(4)).symplectic
    assert symplectic is not None
    torch.testing.assert_close(symplectic[:2, 2:].abs(), torch.eye(2, dtype=torch.float64))
    with pytest.raises(InvalidSetting):
        invariant_forms(KDV)


def test_numbers_are_snapped_within_two_standard_errors() -> None:
    assert snap(1.03, 0.02) == ("1", 1.0)
    assert snap(1.03, 0.01)[0] == "1.03"
    assert snap(-0.51, 0.01) == ("-1/2", -0.5)
    assert snap(0.7075, 0.001)[0] == "sqrt(2)/2"
    assert snap(0.01, 0.006) == ("0", 0.0)
    assert snap(0.01, 0.004)[0] == "0.01"


def test_generators_are_printed_as_vector_fields() -> None:
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    assert write_generator(turn) == "x d/dy - y d/dx"
    assert write_generator(-turn) == "y d/dx - x d/dy"
    assert write_generator(turn + 0.02 * normal(2, 2), errors=0.03) == "x d/dy - y d/dx"
    assert write_generator(SE(2).basis()[1], affine=True) == "d/dx"
    assert write_generator(KDV[3], axes="txu") == "3 t d/dt - 2 u d/du + x d/dx"
    assert write_generator(torch.zeros(2, 2)) == "0"
    assert write_generator(normal(3, 3), most=2).endswith("... (7 more terms)")
    assert write_latex(KDV[2], axes="txu") == r"t \partial_{x} + \partial_{u}"
    assert write_latex(torch.eye(2) * 2**-0.5) == r"\sqrt{2}/2 x \partial_{x} + \sqrt{2}/2 y \partial_{y}"
    with pytest.raises(DimensionMismatch):
        write_generator(turn, axes="x")
    with pytest.raises(DimensionMismatch):
        write_generator(torch.zeros(2, 5))


def test_sympy_expressions_are_the_velocity() -> None:
    sympy = pytest.importorskip("sympy")
    t, x, u = sympy.symbols("t x u", real=True)
    assert to_sympy(KDV[3], axes="txu") == (3 * t, x, -2 * u)
    bend = field(((0, (0, 1), 0.5), (1, (0, 0), 2**0.5)), dim=2)
    y = sympy.Symbol("y", real=True)
    assert to_sympy(bend) == (x * y / 2, sympy.sqrt(2) * x**2)


@pytest.mark.parametrize(
    ("generator", "words"),
    [
        (SO(2).basis()[0], "rotation, period 2 pi"),
        (2 * SO(3).basis()[0], "rotation, period pi"),
        (torch.block_diag(SO(2).basis()[0], 3 * SO(2).basis()[0]), "rotation of 2 planes, period 2 pi"),
        (torch.block_diag(SO(2).basis()[0], 1.618 * SO(2).basis()[0]), "rotation of 2 planes at speeds 1, 1.62"),
        (torch.eye(3), "scaling by e^t"),
        (Lorentz(4).basis()[0], "boost"),
        (torch.tensor([[0.0, 1.0], [0.0, 0.0]]), "shear"),
        (torch.tensor([[1.0, -1.0], [1.0, 1.0]]), "rotation at speed 1 together with scaling"),
        (torch.diag(torch.tensor([2.0, 1.0, 0.5])), "scaling with weights 2, 1, 1/2"),
        (torch.zeros(2, 2), "nothing moves"),
    ],
)
def test_flows_are_told_in_words(generator: Tensor, words: str) -> None:
    assert describe_flow(generator) == words


def test_affine_flows_are_told_in_words() -> None:
    turn, _, shift, *_ = F.pad(SE(2).basis(), (0, 0, 0, 0, 0, 1))
    assert describe_flow(shift, affine=True) == "translation"
    about_a_point = turn + shift
    assert describe_flow(about_a_point, affine=True) == "rotation, period 2 pi"
    screw = SE(3).basis()[0] + SE(3).basis()[5]
    assert describe_flow(screw, affine=True) == "rotation, period 2 pi, with a translation"


def test_a_result_is_printed_and_written_as_plain_values() -> None:
    for found in (name_algebra(SE(3)), name_algebra(normal(3, 3, 3)), name_algebra(KDV)):
        assert isinstance(found, Algebra)
        header, rows = found.rows()
        assert len(header) == 3
        assert len(rows) == found.dim == len(found.latex)
        assert json.loads(json.dumps(found.to_dict()))["name"] == found.name
        assert str(found).startswith(found.conclusion)
    assert "Levi: so(3) acting on the radical R^3" in name_algebra(SE(3)).facts()
    assert name_algebra(SO(5)).conclusion == "so(5) (the same as usp(4)): 10 generators, closure 0.0%."


def test_what_is_no_basis_is_refused() -> None:
    with pytest.raises(InvalidSetting):
        name_algebra(torch.zeros(2, 3, 3))
    with pytest.raises(InvalidSetting):
        name_algebra(torch.zeros(0, 3, 3))
    with pytest.raises(InvalidSetting):
        name_algebra(torch.full((1, 2, 2), torch.nan))
    with pytest.raises(DimensionMismatch):
        name_algebra(torch.ones(1, 2, 5))
    with pytest.raises(InvalidSetting):
        name_algebra(SO(3).basis(), errors=10.0)
