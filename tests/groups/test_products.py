from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting, SentenceError
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import (
    SE,
    SO,
    Affine,
    AffineMap,
    Cyclic,
    Dihedral,
    E,
    Element,
    Group,
    Learned,
    O,
    Permutations,
    PolynomialField,
    Product,
    ProductElement,
    Scale,
    Translation,
    Union,
    by_name,
)
from lightning_symmetry.samplers import Sampler, Uniform
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import ElementContract, GroupContract, SamplerContract
from tests.groups.test_classical_groups import gram, gram_of_linear_part


class TestProductElement(ElementContract):
    subject = ProductElement

    def make(self, rows: int, counter: int) -> Element:
        rng = self.rng(counter)
        t = 0.5 * rng.normal(rows, 12, dtype=torch.float64)
        return ProductElement(Affine(3).exp(t), Permutations(7).sample(rows, rng), coordinates=t)


class TestProduct(GroupContract):
    subject = Product

    def make(self) -> Group:
        return Product([SO(2), Translation()])

    def violation(self, matrix: Tensor) -> Tensor:
        return gram_of_linear_part(matrix)


class TestProductOfFiniteParts(GroupContract):
    subject = Product

    def make(self) -> Group:
        return Dihedral(2) * Cyclic(3)

    def violation(self, matrix: Tensor) -> Tensor:
        return gram(matrix)


class TestProductThatCommutes(GroupContract):
    subject = Product
    dim = 4

    def make(self) -> Group:
        return O(4) * Scale()

    def violation(self, matrix: Tensor) -> Tensor:
        square = matrix.mT @ matrix
        return square - square[:, :1, :1] * torch.eye(4, dtype=matrix.dtype)


class TestProductWithALearnedFactor(GroupContract):
    subject = Product
    affine = True

    def make(self) -> Group:
        return Learned(count=2, affine=False) * Translation()


class TestProductWithPermutations(GroupContract):
    subject = Product
    dim = 3

    def make(self) -> Group:
        return E(3) * Permutations()

    def violation(self, matrix: Tensor) -> Tensor:
        return gram_of_linear_part(matrix)


class TestUnion(GroupContract):
    subject = Union

    def make(self) -> Group:
        return SO(2) | Scale() | Dihedral(4)


class TestUnionWithPermutations(GroupContract):
    subject = Union
    dim = 3

    def make(self) -> Group:
        return O(3) | Permutations()


class TestUnionInAProduct(GroupContract):
    subject = Product

    def make(self) -> Group:
        return (SO(2) | Scale()) * Translation() * Permutations()


class TestUniformOnUnion(SamplerContract):
    subject = Uniform

    def group(self) -> Group:
        return SO(2) | Dihedral(4) | Translation(2)

    def make(self, group: Group | None = None) -> Sampler:
        return Uniform(group)


class TestUniformOnProduct(SamplerContract):
    subject = Uniform

    def group(self) -> Group:
        # the contract moves three points
        return E(2) * Permutations(3)

    def make(self, group: Group | None = None) -> Sampler:
        return Uniform(group)


def coordinates(group: Group, rows: int = 5) -> Tensor:
    return torch.randn(rows, group.count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("product", "known"),
    [(SO(3) * Translation(3), SE(3)), (O(2) * Translation(2), E(2)), (Translation(2) * SO(2), SE(2))],
)
def test_rotations_times_translations_are_rigid_motions(product: Group, known: Group) -> None:
    torch.testing.assert_close(
        product.basis().double().flatten(1).mT.svd()[1], known.basis().double().flatten(1).svd()[1]
    )
    assert product.structure == "rigid" and product.affine
    finite, expected = product.discrete, known.discrete
    assert (finite is None) == (expected is None)
    if finite is not None:
        assert torch.equal(finite.linear, expected.linear)


@pytest.mark.parametrize("group", [SO(3) * Translation(3), SO(2) * Scale(2), SO(4) * Scale(4), SO(5) * Scale(5)])
def test_the_exponential_is_that_of_the_combination(group: Group) -> None:
    t = coordinates(group)
    g = group.exp(t)
    expected = torch.matrix_exp(torch.einsum("bk,kij->bij", t, group.basis().double()))
    torch.testing.assert_close(g.matrix, expected)
    assert torch.equal(g.coordinates, t)


def test_factors_that_commute_keep_their_closed_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    group = SO(3) * Scale(3)
    t = coordinates(group)
    expected = torch.matrix_exp(torch.einsum("bk,kij->bij", t, group.basis().double()))
    monkeypatch.setattr(torch, "matrix_exp", lambda a: pytest.fail("both factors have a closed form"))
    torch.testing.assert_close(group.exp(t).matrix, expected)


def test_finite_parts_that_do_not_close_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="finite parts"):
        O(3) * Tilted(3)
    assert len((Dihedral(4) * Cyclic(3)).discrete) == 24


class Tilted(SO):  # type: ignore[misc]
    """Rotations, and a mirror along a diagonal that is no symmetry of the first axis' mirror group."""

    @property
    def discrete(self) -> AffineMap:
        u = torch.tensor([1.0, 0.5, 0.0]) / 1.25**0.5
        return AffineMap(torch.stack((torch.eye(3), torch.eye(3) - 2 * torch.outer(u, u))))


def test_space_and_nodes_stay_apart() -> None:
    group = (SO(3) * Translation() * Permutations(4)).bind(3)
    space, nodes = group.part("space"), group.part("nodes")
    assert space is not None and nodes is not None
    assert space.sentence == "SO(3) * translation" and nodes.sentence == "permutations(4)"
    g = group.sample(5, Rng(0))
    p = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))
    first, second = g.part("space"), g.part("nodes")
    assert first is not None and second is not None
    torch.testing.assert_close(g(p), second(first(p)))
    torch.testing.assert_close(g(p), first(second(p)))
    assert g.coordinates is not None


def test_parts_are_shared_with_the_product() -> None:
    group = Learned(2, count=1, affine=False) * Scale() * Permutations(3)
    space = group.part("space")
    assert space is not None and list(space.parameters())[0] is list(group.parameters())[0]
    assert len(list(group.parameters())) == 1 and len(group.state_dict()) == 1


def test_a_union_draws_from_each_member_equally_often() -> None:
    group = SO(2) | Translation(2) | Dihedral(2)
    g = group.draw(torch.ones(6000, 1, group.count), Rng(0))
    one = g.matrix
    turned = (one[:, 0, 1] != 0).float().mean()
    moved = (one[:, 0, 2] != 0).float().mean()
    assert abs(float(turned) - 1 / 3) < 0.03 and abs(float(moved) - 1 / 3) < 0.03
    # coordinates and finite part speak of the same member
    still = (one[:, 0, 1] == 0) & (one[:, 0, 2] == 0)
    flipped = (one[:, 0, 0] == -1) | (one[:, 1, 1] == -1)
    assert not bool((flipped & ~still).any())
    assert abs(float(flipped.float().mean()) - 1 / 4) < 0.03


def test_a_union_with_permutations_moves_either() -> None:
    group = (SO(2) | Permutations(3)).bind(2)
    g = group.draw(torch.ones(400, 1, 1), Rng(0))
    space, nodes = g.part("space"), g.part("nodes")
    turned = (space.linear - torch.eye(2)).abs().amax((1, 2)) > 0
    mixed = (nodes.order != torch.arange(3)).any(1)
    assert not bool((turned & mixed).any())
    assert abs(float(turned.float().mean()) - 0.5) < 0.1 and abs(float(mixed.float().mean()) - 5 / 12) < 0.1


@pytest.mark.parametrize(
    "words",
    [
        "SO(3) * permutations",
        "SO(2) * scale",
        "(SO(2) | scale) * translation",
        "SO(2) * translation | D4 | learned(2)",
        "(E(3) | scale) * permutations(5)",
        "polynomial_field(2) * permutations",
    ],
)
def test_sentences_read_back(words: str) -> None:
    group = by_name(words)
    assert group.sentence == words and by_name(group.sentence).sentence == words
    symmetry = Symmetry.parse(f"{words} on points -> scalar")
    assert symmetry.sentence == f"{words} on points -> scalar"


def test_the_product_binds_tighter_and_nested_ones_flatten() -> None:
    group = by_name("SO(2) | scale * translation")
    assert isinstance(group, Union) and isinstance(group.factors[1], Product)
    assert by_name("((SO(2) * scale) * translation)").sentence == "SO(2) * scale * translation"
    assert isinstance(by_name("(SO(2) | scale) * translation"), Product)
    assert (SO(2) | Scale() | Translation()).sentence == "SO(2) | scale | translation"


@pytest.mark.parametrize("words", ["SO(2) *", "| scale", "(SO(2) | scale * translation", "SO(2) * * scale"])
def test_unfinished_sentences_are_refused(words: str) -> None:
    with pytest.raises(SentenceError):
        by_name(words)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DimensionMismatch, match="3 dimensions"):
        SO(2) * SO(3)
    with pytest.raises(DimensionMismatch):
        (SO() * Translation()).bind(2).bind(3)
    with pytest.raises(InvalidSetting, match="two or more"):
        Product([SO(2)])
    with pytest.raises(InvalidSetting, match="at most one"):
        SO(2) * Permutations() * Permutations()
    with pytest.raises(InvalidSetting, match="Raise the degree"):
        PolynomialField(2) * SO(2)


def test_a_known_dimension_holds_where_the_data_leave_it_open() -> None:
    group = SO(3) * Scale()
    assert group.dim == 3
    # two vectors of three numbers
    Symmetry(group, "vector", "label").bind(torch.zeros(2, 6))
    learned = Learned() * SO(3)
    assert learned.dim is None and learned.bind(None, affine=False).dim == 3


@pytest.mark.parametrize(
    "words", ["learned(1) * translation", "(learned(1) | D4) * permutations", "polynomial_field(2) * permutations"]
)
def test_learnt_factors_are_saved_as_they_stand(words: str, tmp_path: Path) -> None:
    symmetry = Symmetry.parse(f"{words} on points -> scalar")
    x = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    symmetry.bind(x)
    symmetry.save(tmp_path)
    found = Symmetry.load(tmp_path).bind(x)
    assert symmetry.learnable and not found.learnable
    t = coordinates(symmetry.group, 3)
    torch.testing.assert_close(found.group.exp(t)(x), symmetry.group.exp(t)(x))
    assert (found.group.part("nodes") is None) == (symmetry.group.part("nodes") is None)


def test_axioms_hold_on_data() -> None:
    x = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))
    for words in ("E(3) * permutations", "SO(3) | permutations", "O(3) * scale", "O(3) | scale"):
        symmetry = Symmetry.parse(f"{words} on points -> points")
        symmetry.check(x)
