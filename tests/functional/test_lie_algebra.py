"""Structure constants, forms and subspaces: laws and known truths."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.brackets import bracket_fields, commutators, jacobi_residual, structure_constants
from lightning_symmetry.functional.forms import preserved_forms
from lightning_symmetry.functional.lie_algebra import (
    centre,
    centroid,
    compress,
    derived_series,
    direct_summands,
    killing_form,
    lower_central_series,
    nilradical,
    radical,
    rank,
)
from lightning_symmetry.functional.polynomials import evaluate_monomials, list_monomials
from lightning_symmetry.functional.ranks import count_above, eigenvalues, inertia, null_of, span_of
from lightning_symmetry.functional.spans import canonical_basis, lie_closure_residual, orthonormal_span
from lightning_symmetry.functional.subspaces import subspace_distance
from lightning_symmetry.groups import GL, SE, SL, SO, Affine, Group, Lorentz, Symplectic, Translation


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def constants(basis: Tensor) -> Tensor:
    span = orthonormal_span(basis)
    return structure_constants(span, commutators(span))[0]


def two_blocks(a: Tensor, b: Tensor) -> Tensor:
    """Both algebras side by side, each on a space of its own."""
    n, m = a.shape[-1], b.shape[-1]
    left = torch.nn.functional.pad(a, (0, m, 0, m))
    return torch.cat((left, torch.nn.functional.pad(b, (n, 0, n, 0))))


def test_constants_and_what_is_outside_make_up_the_brackets() -> None:
    span = orthonormal_span(normal(4, 3, 3))
    brackets = commutators(span)
    c, outside = structure_constants(span, brackets)
    torch.testing.assert_close(torch.einsum("ijk,kmn->ijmn", c, span) + outside, brackets)
    assert torch.einsum("ijmn,kmn->ijk", outside, span).abs().max() < 1e-12
    torch.testing.assert_close(c, -c.transpose(0, 1))


def test_field_brackets_are_the_derivative_of_one_field_along_another() -> None:
    fields = normal(3, 2, 6)
    monomials, products = list_monomials(2, 2), list_monomials(2, 3)
    brackets = bracket_fields(fields, monomials, products)

    def at(k: int, p: Tensor) -> Tensor:
        return evaluate_monomials(p, 2) @ fields[k].mT

    for p in normal(5, 2, seed=1):
        for i in range(3):
            for j in range(3):
                along = torch.func.jvp(lambda z, k=j: at(k, z), (p,), (at(i, p),))[1]
                back = torch.func.jvp(lambda z, k=i: at(k, z), (p,), (at(j, p),))[1]
                torch.testing.assert_close(evaluate_monomials(p, 3) @ brackets[i, j].mT, along - back)


def test_linear_fields_have_the_opposite_brackets_of_their_matrices() -> None:
    matrices = normal(3, 2, 2)
    monomials = list_monomials(2, 1)
    fields = torch.nn.functional.pad(matrices, (0, 1))
    torch.testing.assert_close(bracket_fields(fields, monomials, monomials)[..., :2], -commutators(matrices))


def test_the_jacobi_identity_holds_for_algebras_only() -> None:
    assert jacobi_residual(constants(SL(3).basis())) < 1e-12
    random = normal(4, 4, 4)
    assert jacobi_residual(random - random.transpose(0, 1)) > 0.3
    assert jacobi_residual(torch.zeros(3, 3, 3)) == 0


@pytest.mark.parametrize(("group", "expected"), [(SO(3), 0.015), (Lorentz(4), 0.027)])
def test_closure_of_noisy_algebras_is_what_was_published(group: Group, expected: float) -> None:
    basis = group.basis().double()
    assert lie_closure_residual(basis) < 1e-12
    scale = 0.01 * basis.square().mean().sqrt()
    mean = sum(lie_closure_residual(basis + scale * normal(*basis.shape, seed=s)) for s in range(50)) / 50
    # how the noise of the published numbers was scaled is not told: within a factor of two
    assert expected / 2 < mean < 2 * expected


@pytest.mark.parametrize(("count", "dim"), [(3, 3), (6, 4), (10, 5)])
def test_random_spans_leave_most_of_their_brackets_outside(count: int, dim: int) -> None:
    closures = torch.tensor([lie_closure_residual(normal(count, dim, dim, seed=s)) for s in range(50)])
    # the published .60 to .66 are shares of squared norms, of which the closure is the root
    assert 0.58 < closures.square().mean() < 0.70
    assert closures.min() > 0.3


def test_the_killing_form_is_that_of_the_classical_formulas() -> None:
    # K(X, Y) = (n - 2) tr(XY) on so(n), 2 n tr(XY) on sl(n)
    for group, factor in ((SO(5), 3), (SL(3), 6), (Lorentz(4), 2)):
        span = orthonormal_span(group.basis())
        traces = torch.einsum("imn,jnm->ij", span, span)
        torch.testing.assert_close(killing_form(constants(group.basis())), factor * traces)


def test_inertia_counts_signs() -> None:
    q = torch.linalg.qr(normal(5, 5))[0]
    assert inertia(q @ torch.diag(torch.tensor([2.0, 1.0, -1.0, 0.0, 0.0], dtype=torch.float64)) @ q.mT) == (2, 1, 2)
    assert inertia(torch.zeros(3, 3)) == (0, 0, 3)


def test_radicals_and_series_of_rigid_motions() -> None:
    c = constants(SE(3).basis())
    assert [len(s) for s in derived_series(c)] == [6]
    assert len(radical(c)) == len(nilradical(c)) == 3
    torch.testing.assert_close(compress(c, radical(c)), torch.zeros(3, 3, 3, dtype=torch.float64))
    quotient = compress(c, null_of(radical(c)))
    assert inertia(killing_form(quotient)) == (0, 3, 0)
    plane = constants(SE(2).basis())
    assert [len(s) for s in derived_series(plane)] == [3, 2, 0]
    assert [len(s) for s in lower_central_series(plane)] == [3, 2]
    assert len(radical(plane)) == 3
    assert len(nilradical(plane)) == 2


def test_the_nilradical_leaves_out_what_turns_and_scales() -> None:
    # eigenvalues 1 + i of one generator have a square of trace zero: the Killing form alone does not see it
    spiral = torch.zeros(3, 3, 3)
    spiral[0, :2, :2] = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    spiral[1, 0, 2] = spiral[2, 1, 2] = 1
    c = constants(spiral)
    assert inertia(killing_form(c)) == (0, 0, 3)
    assert len(nilradical(c)) == 2


@pytest.mark.parametrize(
    ("group", "expected"), [(SO(3), 1), (SO(4), 2), (SO(6), 3), (SL(3), 2), (GL(3), 3), (Symplectic(4), 2)]
)
def test_rank_is_the_dimension_of_a_cartan_algebra(group: Group, expected: int) -> None:
    assert rank(constants(group.basis())) == expected


def test_the_centre_of_all_matrices_is_the_scalings() -> None:
    span = orthonormal_span(GL(3).basis())
    found = torch.einsum("ki,imn->kmn", centre(constants(GL(3).basis())), span)
    assert len(found) == 1
    torch.testing.assert_close(found[0] / found[0, 0, 0], torch.eye(3, dtype=torch.float64))
    assert len(centre(constants(Translation(3).basis()))) == 3


def test_maps_that_commute_with_the_adjoint_representation_count_ideals() -> None:
    assert len(centroid(constants(SO(3).basis()))) == 1
    # a complex algebra taken as a real one commutes with its imaginary unit
    assert len(centroid(constants(Lorentz(4).basis()))) == 2
    assert len(centroid(constants(SO(4).basis()))) == 2


@pytest.mark.parametrize("seed", range(3))
def test_direct_sums_fall_into_their_ideals(seed: int) -> None:
    basis = two_blocks(SE(3).basis().double(), two_blocks(SO(3).basis().double(), SL(2).basis().double()))
    mixed = torch.einsum("kl,lij->kij", normal(len(basis), len(basis), seed=seed), basis)
    c = constants(mixed)
    summands = direct_summands(c)
    assert sorted(len(space) for space in summands) == [3, 3, 6]
    for one in summands:
        for other in summands:
            if one is not other:
                assert torch.einsum("ai,bj,ijk->abk", one, other, c).abs().max() < 1e-8


def test_the_centre_is_split_off() -> None:
    summands = direct_summands(constants(GL(3).basis()))
    assert [len(space) for space in summands] == [1, 8]
    # of Heisenberg's algebra the centre is a bracket, and stays
    heisenberg = torch.zeros(3, 3, 3)
    heisenberg[0, 0, 1] = heisenberg[1, 1, 2] = heisenberg[2, 0, 2] = 1
    assert [len(space) for space in direct_summands(constants(heisenberg))] == [3]


def test_a_rank_is_decided_at_the_widest_gap_near_the_noise() -> None:
    assert count_above(torch.tensor([1.0, 0.06, 0.001]), 0.05) == 2
    assert count_above(torch.tensor([1.0, 0.04, 0.03]), 0.05) == 1
    assert count_above(torch.zeros(3), 0.05) == 0
    assert len(span_of(torch.zeros(2, 3))) == 0
    assert len(null_of(torch.zeros(2, 3))) == 3


def test_eigenvalues_of_repeated_ones_are_found() -> None:
    blocks = torch.block_diag(*[torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)] * 6)
    torch.testing.assert_close(eigenvalues(blocks).imag.abs(), torch.ones(12, dtype=torch.float64))


@pytest.mark.parametrize("group", [SO(3), SO(4), SO(5), SO(6), Lorentz(4), SE(2), SE(3)], ids=lambda g: g.sentence)
def test_mixed_bases_are_made_sparse_again(group: Group) -> None:
    span = orthonormal_span(group.basis())
    truth = span.flatten(1)
    for seed in range(5):
        rotation = torch.linalg.qr(normal(len(span), len(span), seed=seed))[0]
        found = canonical_basis(torch.einsum("kl,lij->kij", rotation, span), group.affine).flatten(1)
        elementary = group.basis().double().flatten(1)
        cosines = torch.nn.functional.cosine_similarity(found[:, None], elementary[None], dim=2).abs()
        assert cosines.amax(1).min() > 0.999
        torch.testing.assert_close(found @ truth.mT @ truth, found)


def test_a_noisy_mixed_basis_is_made_nearly_sparse() -> None:
    truth = SO(3).basis().double()
    noisy = truth + 0.05 * truth.square().mean().sqrt() * normal(3, 3, 3, seed=1)
    mixed = torch.einsum("kl,lij->kij", torch.linalg.qr(normal(3, 3))[0], noisy)
    found = canonical_basis(mixed).flatten(1)
    cosines = torch.nn.functional.cosine_similarity(found[:, None], truth.flatten(1)[None], dim=2).abs()
    # published for five per cent: .9987
    assert cosines.amax(1).min() > 0.997


@pytest.mark.parametrize("seed", range(3))
def test_forms_are_kept_by_the_flows(seed: int) -> None:
    similarity = torch.eye(4, dtype=torch.float64) + 0.3 * normal(4, 4, seed=seed)
    lorentz = similarity @ Lorentz(4).basis().double() @ torch.linalg.inv(similarity)
    symmetric, skew = preserved_forms(lorentz)
    assert (len(symmetric), len(skew)) == (1, 0)
    moved = torch.linalg.matrix_exp(torch.einsum("k,kij->ij", normal(6, seed=seed), lorentz))
    torch.testing.assert_close(moved.mT @ symmetric[0] @ moved, symmetric[0])
    inverse = torch.linalg.inv(similarity)
    minkowski = inverse.mT @ torch.diag(torch.tensor([1.0, -1, -1, -1], dtype=torch.float64)) @ inverse
    cosine = (minkowski * symmetric[0]).sum() / minkowski.norm() / symmetric[0].norm()
    assert cosine.abs() > 1 - 1e-9


def test_forms_of_other_groups() -> None:
    assert [len(found) for found in preserved_forms(Symplectic(4).basis())] == [0, 1]
    assert [len(found) for found in preserved_forms(GL(3).basis())] == [0, 0]
    assert [len(found) for found in preserved_forms(SO(2).basis())] == [1, 1]


def test_angles_between_subspaces_are_exact_where_they_are_small() -> None:
    a = normal(2, 12, seed=1)
    q = torch.linalg.qr(a.mT)[0].mT
    aside = torch.linalg.qr(torch.cat((q, normal(1, 12, seed=2))).mT)[0].mT[2]
    for angle in (1e-9, 1e-4, 0.3, 1.2):
        b = torch.stack((q[0], math.cos(angle) * q[1] + math.sin(angle) * aside))
        found = subspace_distance(a.reshape(2, 3, 4), b.reshape(2, 3, 4))
        assert found.largest == pytest.approx(angle, rel=1e-5)
        assert found.grassmann == pytest.approx(angle, rel=1e-5)
        assert found.chordal == pytest.approx(math.sin(angle), rel=1e-5)
        assert found.missing == 0


def test_a_smaller_span_lies_inside_a_larger_one() -> None:
    found = subspace_distance(SO(3).basis(), GL(3).basis())
    assert found.contained
    assert found.missing == 6
    assert subspace_distance(GL(3).basis(), SO(3).basis()).missing == -6
    assert not subspace_distance(SO(3).basis(), SL(3).basis()[3:]).contained


def test_what_the_data_never_show_does_not_count() -> None:
    points = normal(50, 3, seed=3)
    points[:, 2] = 0
    moments = points.mT @ points / 50
    a = SO(3).basis().double()[:1]
    b = a.clone()
    # a column that multiplies zero only
    b[0, :, 2] = 5
    assert subspace_distance(a, b).largest > 1
    assert subspace_distance(a, b, metric=moments).largest < 1e-6


def test_spans_of_different_spaces_are_not_compared() -> None:
    with pytest.raises(DimensionMismatch):
        subspace_distance(SO(3).basis(), SO(2).basis())
    with pytest.raises(DimensionMismatch):
        subspace_distance(Affine(2).basis(), Affine(2).basis(), metric=torch.eye(2))
