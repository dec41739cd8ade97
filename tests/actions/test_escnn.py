"""Against escnn itself: these tests need it installed."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from lightning_symmetry.actions import Action, Field, Rep, Vector, by_name
from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import GL, SE, SO, AffineMap, Cyclic, Dihedral, E, Group, O, Scale, Translation
from lightning_symmetry.testing import ActionContract

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("escnn")
    from escnn import group as escnn_group
    from escnn import gspaces
    from escnn import nn as escnn_nn

pytestmark = pytest.mark.filterwarnings("ignore")

ELEMENTS = {
    "SO(2)": lambda: escnn_group.so2_group(),
    "O(2)": lambda: escnn_group.o2_group(),
    "SO(3)": lambda: escnn_group.so3_group(),
    "O(3)": lambda: escnn_group.o3_group(),
}
TOLERANCE = 0.05
"""Between fields read by escnn (splines) and by this package (bilinearly), on values up to 1; a wrong sign makes 1."""
IRREPS = {
    "SO(2)": [0, 1, 1, 3],
    "O(2)": [(0, 0), (1, 0), (1, 1), (1, 4)],
    "SO(3)": [0, 1, 2, 3],
    "O(3)": [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 3)],
}


class TestRep(ActionContract):
    subject = Rep
    any_map = False

    def make(self) -> Action:
        return Rep("SO(3)", [0, 1, 1, 2, 4])

    def group(self) -> Group:
        return SE(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 5, self.make().size, dtype=torch.float64)


class TestRepWithInversion(TestRep):
    def make(self) -> Action:
        return Rep("O(3)", IRREPS["O(3)"])

    def group(self) -> Group:
        return E(3)


class TestRepOfThePlane(TestRep):
    def make(self) -> Action:
        return Rep("O(2)", IRREPS["O(2)"], copies=2)

    def group(self) -> Group:
        return E(2)


class TestRepOfLayers(TestRepOfThePlane):
    def make(self) -> Action:
        return Rep("O(2)", IRREPS["O(2)"], axes="escnn")


class TestRepOfCycles(TestRep):
    def make(self) -> Action:
        return Rep("C6", ["regular", 0, 1, 3])

    def group(self) -> Group:
        return Cyclic(6)


class TestRepOfPolygons(TestRep):
    def make(self) -> Action:
        return Rep("D5", ["regular", (1, 2)])

    def group(self) -> Group:
        return Dihedral(5)


class TestRepOfSquares(TestRep):
    def make(self) -> Action:
        return Rep("D4", copies=3)

    def group(self) -> Group:
        return Dihedral(4)


def draw(name: str, rows: int = 6) -> Tensor:
    """Random orthogonal matrices of a continuous group, (rows, d, d)."""
    dim = int(name[-2])
    group = SO(dim).double()
    linear = group.exp(2 * Rng(5).normal(rows, group.count, dtype=torch.float64)).linear
    if name.startswith("O"):
        linear[::2] = linear[::2] @ O(dim).double().discrete.linear[1]
    return linear


def ask(name: str, linear: Tensor) -> list[object]:
    """The elements of escnn: rotations of the plane come after y -> -y, those of space after p -> -p."""
    mirror = torch.diag(torch.tensor([1.0, -1.0])).double() if "2" in name else -torch.eye(3).double()
    found = []
    for matrix in linear:
        mirrored = bool(torch.linalg.det(matrix) < 0)
        turn = matrix @ mirror if mirrored else matrix
        place = turn.numpy() if "3" in name else float(torch.atan2(turn[1, 0], turn[0, 0]))
        param = "MAT" if "3" in name else "radians"
        found.append(ELEMENTS[name]().element((int(mirrored), place) if name.startswith("O") else place, param))
    return found


@pytest.mark.parametrize("name", list(IRREPS))
def test_matrices_are_those_of_escnn(name: str) -> None:
    group, linear = ELEMENTS[name](), draw(name)
    ids = [i if isinstance(i, tuple) else (i,) for i in IRREPS[name]]
    whole = escnn_group.directsum([group.irrep(*i) for i in ids])
    expected = torch.stack([torch.as_tensor(whole(e)) for e in ask(name, linear)]).double()
    identity = torch.eye(whole.size).double().expand(len(linear), -1, -1)
    for action in (Rep(name, IRREPS[name]).double(), Rep(whole).double()):
        moved = action.act(linear, identity).mT
        torch.testing.assert_close(moved, expected, atol=1e-9, rtol=0)
        torch.testing.assert_close(moved @ moved.mT, identity, atol=1e-9, rtol=0)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 8])
def test_matrices_of_finite_groups_are_those_of_escnn(order: int) -> None:
    """Rotations by growing angle, then the same after the mirror, which is that of ``Dihedral`` for odd orders."""
    cyclic, dihedral = escnn_group.cyclic_group(order), escnn_group.dihedral_group(order)
    turns = torch.stack([torch.as_tensor(cyclic.regular_representation(cyclic.element(k))) for k in range(order)])
    identity = torch.eye(order).double().expand(order, -1, -1)
    moved = Rep(f"C{order}").double().act(Cyclic(order).double().discrete, identity).mT
    assert torch.equal(moved, turns.round().double())
    mirror = (
        Dihedral(order).double().discrete.linear[order] if order % 2 else torch.diag(torch.tensor([1.0, -1.0])).double()
    )
    elements = Cyclic(order).double().discrete.linear
    elements = torch.cat((elements, elements @ mirror))
    regular = dihedral.regular_representation
    expected = torch.stack([torch.as_tensor(regular(dihedral.element((j, k)))) for j in (0, 1) for k in range(order)])
    identity = torch.eye(2 * order).double().expand(2 * order, -1, -1)
    moved = Rep(f"D{order}").double().act(elements, identity).mT
    torch.testing.assert_close(moved, expected.double(), atol=1e-9, rtol=0)


def test_frequency_one_is_a_vector() -> None:
    x = Rng(6).normal(6, 2, dtype=torch.float64)
    turns, both = draw("SO(2)"), draw("O(2)")
    torch.testing.assert_close(Rep("SO(2)", [1]).double().act(turns, x), Vector().act(turns, x))
    torch.testing.assert_close(Rep("O(2)", [(1, 1)]).double().act(both, x), Vector().act(both, x))
    torch.testing.assert_close(Rep("SO(2)", [1]).double().lie(SO(2), x), Vector().lie(SO(2), x))
    quarter = Dihedral(4).double().discrete
    torch.testing.assert_close(
        Rep("D4", [(1, 1)]).double().act(quarter, torch.ones(8, 2).double()),
        Vector().act(quarter, torch.ones(8, 2).double()),
    )
    p = Rng(6).normal(6, 3, dtype=torch.float64)
    solid = draw("O(3)")
    moved = Rep("O(3)", [(1, 1)]).double().act(solid, p[:, [1, 2, 0]])
    torch.testing.assert_close(moved, Vector().act(solid, p)[:, [1, 2, 0]], atol=1e-9, rtol=0)


@pytest.mark.parametrize(("name", "axes"), [("D3", "image"), ("D4", "escnn"), ("O(2)", "escnn")])
def test_with_the_mirror_of_x_frequency_one_is_a_vector_turned_by_a_quarter(name: str, axes: str) -> None:
    x = Rng(6).normal(6, 2, dtype=torch.float64)
    g = Dihedral(3 if name == "D3" else 4).double().discrete[:6]
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double()
    up = torch.diag(torch.tensor([1.0, -1.0 if axes == "escnn" else 1.0])).double()
    change = quarter.mT @ up  # from our components to those of the representation
    moved = Rep(name, [(1, 1)], axes=axes).double().act(g, x @ change.mT)
    torch.testing.assert_close(moved, Vector().act(g, x) @ change.mT)


def test_axial_vectors_and_parities_of_space() -> None:
    p, solid = Rng(6).normal(6, 3, dtype=torch.float64), draw("O(3)")
    moved = Rep("O(3)", [(0, 1)]).double().act(solid, p[:, [1, 2, 0]])
    torch.testing.assert_close(moved, by_name("pseudovector").act(solid, p)[:, [1, 2, 0]], atol=1e-9, rtol=0)


def draw_smooth(channels: int, counter: int) -> Tensor:
    """Bumps that vanish at the border: both readers agree on them."""
    p = torch.linspace(-1, 1, 33)
    centres = 0.25 * Rng(9, counter).normal(1, channels, 2).clamp(-1, 1)
    square = (p - centres[..., :1]).square().unsqueeze(-2) + (p - centres[..., 1:]).square().unsqueeze(-1)
    return torch.exp(-square / 0.06)


@pytest.mark.parametrize("fibre", [["regular"], [(1, 1)], [(0, 0), (1, 0), (1, 1), "regular"]])
@pytest.mark.parametrize("order", [3, 4])
def test_fields_move_as_those_of_escnn_layers(order: int, fibre: list[object]) -> None:
    """Both move the grid and the fibre: the elements are matched by what they do to an image."""
    space = gspaces.flipRot2dOnR2(order)
    group = space.fibergroup
    kinds = [group.regular_representation if f == "regular" else group.irrep(*f) for f in fibre]
    kind, plain = escnn_nn.FieldType(space, kinds), escnn_nn.FieldType(space, [group.trivial_representation])
    x, image = draw_smooth(kind.size, 0), draw_smooth(2, 1)
    image = (image * torch.tensor([1.0, 0.5])[:, None, None]).sum(1, keepdim=True)
    action, still = Field(Rep(f"D{order}", fibre, axes="escnn")), by_name("image")
    for g in (Dihedral(order).discrete[index] for index in range(2 * order)):
        moved = still.act(g, image)
        fits = [e for e in group.elements if (plain.transform(image, e) - moved).abs().max() < TOLERANCE]
        assert len(fits) == 1
        assert (kind.transform(x, fits[0]) - action.act(g, x)).abs().max() < TOLERANCE


@pytest.mark.parametrize("angle", [0.0, 0.7, torch.pi / 2, -2.0])
def test_fields_turn_as_those_of_escnn_layers(angle: float) -> None:
    space = gspaces.rot2dOnR2(-1, maximum_frequency=3)
    kind = escnn_nn.FieldType(space, [space.irrep(k) for k in (0, 1, 2, 3)])
    x = draw_smooth(kind.size, 0)
    action = Field(Rep("SO(2)", [0, 1, 2, 3], axes="escnn"))
    # towards y, which points down, is clockwise
    expected = kind.transform(x, space.fibergroup.element(-angle))
    moved = action.act(SO(2).exp(torch.tensor([[angle]])), x)
    assert (moved - expected).abs().max() < TOLERANCE
    if angle:
        wrong = Field(Rep("SO(2)", [0, 1, 2, 3])).act(SO(2).exp(torch.tensor([[angle]])), x)
        assert (wrong - expected).abs().max() > 5 * TOLERANCE


def test_field_of_a_representation_derives_under_motions() -> None:
    action = Field(Rep("SO(2)", [0, 1, 2])).double()
    p = torch.linspace(-1, 1, 20, dtype=torch.float64)
    bump = torch.exp(-(p[:, None] ** 2 + (p - 0.1) ** 2) / 0.04)
    x = Rng(7).normal(2, 5, 1, 1, dtype=torch.float64) * bump
    group, step = SE(2).double(), 1e-6
    derivative = action.lie(group, x)
    for k in range(3):
        t = torch.zeros(1, 3, dtype=torch.float64)
        t[0, k] = step
        change = (action.act(group.exp(t), x) - action.act(group.exp(-t), x)) / (2 * step)
        torch.testing.assert_close(derivative[:, k], change, atol=1e-3, rtol=1e-3)
    assert not Field(Rep("C4", [1])).double().lie(Translation(2).double(), x[:, :2]).isnan().any()


def test_gradients_are_right_at_every_rotation() -> None:
    action = Rep("SO(3)", [0, 1, 3]).double()
    x = Rng(6).normal(1, action.size, dtype=torch.float64)
    group = SO(3).double()
    for t in (torch.zeros(1, 3), torch.tensor([[torch.pi, 0.0, 0.0]]), torch.tensor([[0.0, 0.3, -0.4]])):
        t = t.double().requires_grad_()
        assert torch.autograd.gradcheck(lambda t: action.act(group.exp(t), x), (t,), check_undefined_grad=False)


def test_high_degrees_stay_accurate_in_float32() -> None:
    action = Rep("SO(3)", [6])
    x, linear = Rng(6).normal(6, 13, dtype=torch.float64), draw("SO(3)")
    expected = Rep("SO(3)", [6]).double().act(linear, x)
    torch.testing.assert_close(action.act(linear.float(), x.float()).double(), expected, atol=2e-5, rtol=0)


def test_words() -> None:
    for words in (
        "rep('C4', 'regular', copies=8)",
        "rep('SO(2)', [0, 1, 1, 2])",
        "rep('O(2)', [(1, 1)], axes='escnn')",
        "field(\"rep('C4', 'regular')\")",
    ):
        assert by_name(words).sentence == words
    assert by_name("rep('c4')").sentence == "rep('C4', 'regular')"


def test_what_does_not_fit_is_refused() -> None:
    x = torch.ones(1, 2)
    with pytest.raises(DimensionMismatch, match="outside"):
        Rep("SO(2)", [1]).act(torch.diag(torch.tensor([1.0, -1.0]))[None], x)
    with pytest.raises(DimensionMismatch, match="outside"):
        Rep("C4", [1]).act(SO(2).exp(torch.tensor([[0.3]])), x)
    with pytest.raises(DimensionMismatch, match="outside"):
        Rep("SO(2)", [1]).act(Scale(2).exp(torch.tensor([[0.3]])), x)
    with pytest.raises(DimensionMismatch, match="outside"):
        Rep("SO(2)", [1]).lie(GL(2), x)
    with pytest.raises(DimensionMismatch, match="outside"):
        Rep("C4", [1]).lie(SO(2), x)
    with pytest.raises(DimensionMismatch):
        Rep("SO(2)", [1]).act(AffineMap.identity(1, 3), x)
    with pytest.raises(ActionMismatch, match="length 2"):
        Rep("SO(2)", [1]).check(torch.ones(1, 3))
    for wrong in (
        ("C0",),
        ("GL(2)",),
        ("SO(2)",),
        ("SO(2)", "regular"),
        ("SO(2)", [(1, 2)]),
        ("C4", [9]),
        ("C4", []),
        ("D4", [7]),
        ("C4", "regular", 1, "up"),
    ):
        with pytest.raises(InvalidSetting):
            Rep(*wrong)
