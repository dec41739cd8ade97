from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.groups import (
    GL,
    SE,
    SL,
    SO,
    Affine,
    AnisotropicScaling,
    Cyclic,
    Dihedral,
    E,
    Group,
    Lorentz,
    O,
    Scale,
    Symplectic,
    Translation,
)
from lightning_symmetry.testing import GroupContract


def gram(matrix: Tensor) -> Tensor:
    return matrix.mT @ matrix - torch.eye(matrix.shape[-1], dtype=matrix.dtype)


def gram_of_linear_part(matrix: Tensor) -> Tensor:
    last_row = matrix[:, -1] - torch.eye(matrix.shape[-1], dtype=matrix.dtype)[-1]
    return torch.cat((gram(matrix[:, :-1, :-1]).flatten(1), last_row), 1)


class TestSO(GroupContract):
    subject = SO

    def make(self) -> Group:
        return SO(2)

    def violation(self, matrix: Tensor) -> Tensor:
        return torch.cat((gram(matrix).flatten(), torch.linalg.det(matrix) - 1))


class TestSO3(TestSO):
    dim = 3

    def make(self) -> Group:
        return SO()


class TestSO4(TestSO):
    dim = 4

    def make(self) -> Group:
        return SO(4)


class TestO(GroupContract):
    subject = O
    dim = 3

    def make(self) -> Group:
        return O(3)

    def violation(self, matrix: Tensor) -> Tensor:
        return gram(matrix)


class TestSE(GroupContract):
    subject = SE

    def make(self) -> Group:
        return SE()

    def violation(self, matrix: Tensor) -> Tensor:
        return gram_of_linear_part(matrix)


class TestSE3(TestSE):
    dim = 3


class TestE(GroupContract):
    subject = E

    def make(self) -> Group:
        return E(2)

    def violation(self, matrix: Tensor) -> Tensor:
        return gram_of_linear_part(matrix)


class TestE3(TestE):
    dim = 3

    def make(self) -> Group:
        return E()


class TestGL(GroupContract):
    subject = GL

    def make(self) -> Group:
        return GL()


class TestGL3(TestGL):
    dim = 3


class TestSL(GroupContract):
    subject = SL
    dim = 3

    def make(self) -> Group:
        return SL()

    def violation(self, matrix: Tensor) -> Tensor:
        return torch.linalg.det(matrix) - 1


class TestScale(GroupContract):
    subject = Scale
    dim = 3

    def make(self) -> Group:
        return Scale(3)

    def violation(self, matrix: Tensor) -> Tensor:
        return matrix - matrix[:, :1, :1] * torch.eye(3, dtype=matrix.dtype)


class TestAnisotropicScaling(GroupContract):
    subject = AnisotropicScaling

    def make(self) -> Group:
        return AnisotropicScaling()

    def violation(self, matrix: Tensor) -> Tensor:
        return matrix - torch.diag_embed(matrix.diagonal(dim1=1, dim2=2))


class TestTranslation(GroupContract):
    subject = Translation

    def make(self) -> Group:
        return Translation()

    def violation(self, matrix: Tensor) -> Tensor:
        return matrix[:, :, :2] - torch.eye(3, dtype=matrix.dtype)[:, :2]


class TestAffine(GroupContract):
    subject = Affine

    def make(self) -> Group:
        return Affine()


class TestAffine3(TestAffine):
    dim = 3


class TestLorentz(GroupContract):
    subject = Lorentz
    dim = 4

    def make(self) -> Group:
        return Lorentz(4)

    def violation(self, matrix: Tensor) -> Tensor:
        metric = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=matrix.dtype))
        return matrix.mT @ metric @ matrix - metric


class TestSymplectic(GroupContract):
    subject = Symplectic
    dim = 4

    def make(self) -> Group:
        return Symplectic()

    def violation(self, matrix: Tensor) -> Tensor:
        form = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=matrix.dtype).kron(torch.eye(2, dtype=matrix.dtype))
        return matrix.mT @ form @ matrix - form


class TestCyclic(GroupContract):
    subject = Cyclic

    def make(self) -> Group:
        return Cyclic(6)

    def violation(self, matrix: Tensor) -> Tensor:
        turned = torch.linalg.matrix_power(matrix, 6) - torch.eye(2, dtype=matrix.dtype)
        return torch.cat((turned.flatten(), torch.linalg.det(matrix) - 1))


class TestDihedral(GroupContract):
    subject = Dihedral

    def make(self) -> Group:
        return Dihedral(5)

    def violation(self, matrix: Tensor) -> Tensor:
        return gram(matrix)


@pytest.mark.parametrize(
    ("group", "count"),
    [(SO(4), 6), (O(3), 3), (SE(3), 6), (E(2), 3), (GL(3), 9), (SL(3), 8), (Affine(2), 6), (Lorentz(4), 6)]
    + [(Symplectic(4), 10), (Scale(5), 1), (AnisotropicScaling(5), 5), (Translation(3), 3), (Cyclic(4), 0)],
)
def test_number_of_generators_is_the_dimension_of_the_group(group: Group, count: int) -> None:
    assert group.count == count


@pytest.mark.parametrize("group", [SO(3), SL(3), GL(2), Lorentz(3), Symplectic(4), SE(2), Affine(2)])
def test_generators_are_closed_under_brackets(group: Group) -> None:
    basis = group.basis().double()
    brackets = basis[:, None] @ basis - basis @ basis[:, None]
    span = torch.cat((basis, brackets.flatten(0, 1))).flatten(1)
    assert torch.linalg.matrix_rank(span) == group.count


def test_rotation_turns_x_towards_y_by_its_coordinate() -> None:
    p = torch.tensor([[[1.0, 0.0]]])
    angle = torch.tensor([[0.3]])
    torch.testing.assert_close(SO(2).exp(angle)(p)[0, 0], torch.cat((angle.cos(), angle.sin()), 1)[0])
    first = torch.tensor([[0.3, 0.0, 0.0]])
    torch.testing.assert_close(
        SO(3).exp(first)(torch.eye(3)[None, :1])[0, 0],
        torch.tensor([0.3, 0.0, 0.0]).cos() * torch.eye(3)[0] + torch.tensor(0.3).sin() * torch.eye(3)[1],
    )


def test_dihedral_mirrors() -> None:
    finite = Dihedral(4).discrete
    determinants = torch.linalg.det(finite.linear)
    assert determinants.round().tolist() == [1.0] * 4 + [-1.0] * 4
    assert set(finite.linear.unique().tolist()) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("kind", [SO, Symplectic])
def test_dimensions_that_do_not_exist_are_refused(kind: type) -> None:
    with pytest.raises(DimensionMismatch, match="Check the dimension"):
        kind(1)


def test_unbound_group_says_what_to_do() -> None:
    with pytest.raises(DimensionMismatch, match=r"SO\(dim\), or call bind"):
        SO().basis()


def test_exp_wants_one_coordinate_a_generator() -> None:
    with pytest.raises(DimensionMismatch, match=r"\(B, 3\)"):
        SO(3).exp(torch.zeros(2, 1))
