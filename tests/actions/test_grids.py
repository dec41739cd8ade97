from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.actions import Action, Field, Image, Mask, Pseudoscalar, Scalar, Tokens, Vector, by_name
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.warp import pixel_coordinates
from lightning_symmetry.groups import SE, SO, Affine, Cyclic, Dihedral, Element, Group, Scale, Translation
from lightning_symmetry.testing import ActionContract


def draw_bumps(rows: int, channels: int, height: int, width: int, spread: float = 0.16) -> Tensor:
    p = pixel_coordinates(height, width, dtype=torch.float64)
    centres = 0.2 * Rng(20).normal(rows, channels, 2, dtype=torch.float64).clamp(-1, 1)
    square = (p - centres.unsqueeze(-2)).square().sum(-1)
    return torch.exp(-square / (2 * spread**2)).unflatten(-1, (height, width))


class TestMask(ActionContract):
    subject = Mask
    whole_numbers = True
    # Bilinear reading loses up to an eighth of the second differences: 0.8 % of these maps at each reading.
    tolerance = 0.02
    width = 0.05

    def make(self) -> Action:
        return Mask()

    def group(self) -> Group:
        return Affine(2)

    def data(self, rows: int) -> Tensor:
        return draw_bumps(rows, 2, 64, 72)


class TestFilledMask(ActionContract):
    """Quarter turns of squares permute pixels: the law is exact, and nothing comes from outside."""

    subject = Mask
    whole_numbers = True

    def make(self) -> Action:
        return Mask(fill=7)

    def group(self) -> Group:
        return Cyclic(4)

    def data(self, rows: int) -> Tensor:
        return 3 * self.rng().normal(rows, 5, 5, dtype=torch.float64)


class TestField(ActionContract):
    subject = Field
    # As for masks; the reading errors of two channels add up.
    tolerance = 0.03
    width = 0.05

    def make(self) -> Action:
        return Field()

    def group(self) -> Group:
        return Affine(2)

    def data(self, rows: int) -> Tensor:
        return draw_bumps(rows, 4, 64, 72)


class TestFieldOfNumbers(TestField):
    def make(self) -> Action:
        return Field(Scalar())


class TestFieldInTheSquare(ActionContract):
    subject = Field

    def make(self) -> Action:
        return Field(Pseudoscalar(), padding="border")

    def group(self) -> Group:
        return Dihedral(4)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 3, 6, 6, dtype=torch.float64)


class TestTokens(ActionContract):
    subject = Tokens
    # As for masks, on a coarser grid: 1 % at each reading.
    tolerance = 0.025
    width = 0.05

    def make(self) -> Action:
        return Tokens()

    def group(self) -> Group:
        return Affine(2)

    def data(self, rows: int) -> Tensor:
        grid = draw_bumps(rows, 2, 64, 64).flatten(2).mT
        return torch.cat((self.rng().normal(rows, 1, 2, dtype=torch.float64), grid), 1)


class TestTokensInTheSquare(ActionContract):
    subject = Tokens

    def make(self) -> Action:
        return Tokens(leading=5, height=4, width=4)

    def group(self) -> Group:
        return Dihedral(4)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 21, 3, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(7, 7), (5, 8), (9, 4)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.long, torch.int32, torch.bool])
def test_classes_are_read_at_the_nearest_pixel(shape: tuple[int, int], dtype: torch.dtype) -> None:
    rng, (height, width) = Rng(2), shape
    classes = rng.integers(2 if dtype == torch.bool else 9, 3, *shape).to(dtype)
    g = SE(2).exp(0.4 * rng.normal(3, 3))
    size, fill = 2 / max(shape), 1
    expected = torch.full_like(classes, fill)
    pixels = pixel_coordinates(height, width)
    sources = ((~g)(pixels[None]) / size).reshape(3, height, width, 2)
    for b in range(3):
        for i in range(height):
            for j in range(width):
                column = round(float(sources[b, i, j, 0]) + (width - 1) / 2)
                row = round(float(sources[b, i, j, 1]) + (height - 1) / 2)
                if 0 <= row < height and 0 <= column < width:
                    expected[b, i, j] = classes[b, row, column]
    moved = Mask(fill=fill).act(g, classes)
    assert moved.dtype == dtype and torch.equal(moved, expected)
    assert torch.equal(Mask(fill=fill).act(g, classes.unsqueeze(1)).squeeze(1), expected)


def test_what_comes_into_a_map_is_the_fill() -> None:
    half = Translation(2).exp(torch.tensor([[1.0, 0.0]]))
    classes, logits = torch.ones(1, 6, 6, dtype=torch.long), torch.ones(1, 2, 6, 6)
    assert torch.equal(Mask(fill=255).act(half, classes)[0, 0], torch.tensor([255, 255, 255, 1, 1, 1]))
    torch.testing.assert_close(Mask(fill=-4).act(half, logits)[0, 0, 0], torch.tensor([-4.0] * 3 + [1.0] * 3))


def test_logits_move_like_images() -> None:
    logits = draw_bumps(2, 3, 12, 9)
    g = SE(2).double().exp(0.3 * Rng(2).normal(2, 3, dtype=torch.float64))
    assert torch.equal(Mask().act(g, logits), Image().act(g, logits))
    assert torch.equal(Mask().lie(SE(2), logits), Image().lie(SE(2), logits))
    assert torch.equal(Mask().act(g, logits[:, 0]), Image().act(g, logits)[:, 0])


def test_classes_have_no_derivative() -> None:
    with pytest.raises(ActionMismatch, match="small amounts"):
        Mask().lie(SO(2), torch.ones(1, 4, 4, dtype=torch.long))


def test_a_uniform_field_turns_and_shrinks_with_its_arrows() -> None:
    wind = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 9, 9)
    turned = Field(padding="border").act(SO(2).exp(torch.tensor([[0.6]])), wind)
    angle = torch.tensor(0.6)
    torch.testing.assert_close(turned[0, :, 4, 4], torch.stack((angle.cos(), angle.sin())))
    double = Scale(2).exp(torch.tensor([[2.0]]).log())
    torch.testing.assert_close(Field(padding="border").act(double, wind), 2 * wind)


def test_gradients_of_an_image_are_a_field_under_rotations() -> None:
    """Quarter turns and mirrors are exact on the grid, central differences included."""
    image = draw_bumps(1, 1, 16, 16)
    for g in (Dihedral(4).double().discrete[i] for i in range(8)):
        moved = torch.cat(torch.gradient(Image().act(g, image), dim=(3, 2)), 1)
        torch.testing.assert_close(Field().act(g, torch.cat(torch.gradient(image, dim=(3, 2)), 1)), moved)


def test_vorticity_is_a_field_of_pseudoscalars() -> None:
    field = draw_bumps(1, 2, 16, 16)

    def curl(x: Tensor) -> Tensor:
        return (torch.gradient(x[:, 1], dim=2)[0] - torch.gradient(x[:, 0], dim=1)[0]).unsqueeze(1)

    for g in (Dihedral(4).double().discrete[i] for i in range(8)):
        torch.testing.assert_close(curl(Field().act(g, field)), by_name("field('pseudoscalar')").act(g, curl(field)))


class Bend(Element):
    """(x, y) -> (x + t y^2, y), whose Jacobian is another at every point."""

    def __init__(self, t: Tensor) -> None:
        object.__setattr__(self, "t", t)

    dim = 2
    coordinates = None

    def __len__(self) -> int:
        return len(self.t)

    def __call__(self, p: Tensor) -> Tensor:
        return torch.stack((p[..., 0] + self.t * p[..., 1] ** 2, p[..., 1].expand(len(self.t), -1)), -1)

    def push(self, v: Tensor, at: Tensor | None = None) -> Tensor:
        assert at is not None
        return torch.stack((v[..., 0] + 2 * self.t * at[..., 1] * v[..., 1], v[..., 1].expand(len(self.t), -1)), -1)

    def __invert__(self) -> Element:
        return Bend(-self.t)

    def __matmul__(self, other: Element) -> Element:
        raise NotImplementedError

    def __getitem__(self, index: object) -> Element:
        return Bend(self.t[index])


class Bends(Group):
    """The velocity is (y^2, 0)."""

    count, affine, linear, sentence = 1, False, False, "bends"

    def __init__(self) -> None:
        super().__init__(2)
        self.dim = 2

    def bind(self, dim: int | None, affine: bool | None = None) -> Group:
        return self

    def field(self, p: Tensor) -> Tensor:
        return torch.stack((p[..., 1] ** 2, torch.zeros_like(p[..., 1])), -1).unsqueeze(-2)


@pytest.mark.parametrize("fibre", [None, Vector(2)], ids=["default", "vector"])
@pytest.mark.parametrize("shape", [(8, 8), (6, 10)])
def test_a_map_that_is_not_linear_pushes_by_its_jacobian_at_every_point(
    fibre: Action | None, shape: tuple[int, int]
) -> None:
    x = draw_bumps(3, 4, *shape)
    g, action = Bend(torch.tensor([[0.3], [-0.2], [0.0]], dtype=torch.float64)), Field(fibre)
    carried = Image().act(g, x)
    p = (~g)(pixel_coordinates(*shape, dtype=torch.float64)[None])
    expected = carried.clone()
    for b in range(3):
        for n in range(p.shape[1]):
            row, column = divmod(n, shape[1])
            jacobian = torch.tensor([[1.0, 2 * g.t[b, 0] * p[b, n, 1]], [0.0, 1.0]], dtype=torch.float64)
            for first in (0, 2):
                expected[b, first : first + 2, row, column] = jacobian @ carried[b, first : first + 2, row, column]
    torch.testing.assert_close(action.act(g, x), expected)
    torch.testing.assert_close(action.act(g[[0]], x)[:1], expected[:1])
    step = 1e-6
    ahead, behind = (action.act(Bend(torch.full((1, 1), s, dtype=torch.float64)), x) for s in (step, -step))
    change, derivative = (ahead - behind) / (2 * step), action.lie(Bends(), x)[:, 0]
    # at the border one-sided differences meet what comes from outside
    torch.testing.assert_close(derivative[..., 1:-1, 1:-1], change[..., 1:-1, 1:-1], atol=1e-5, rtol=1e-5)


def test_tokens_are_an_image_of_patches() -> None:
    image = draw_bumps(2, 3, 6, 9)
    g = SE(2).double().exp(0.3 * Rng(2).normal(2, 3, dtype=torch.float64))
    still = torch.ones(2, 2, 3, dtype=torch.float64)
    tokens = torch.cat((still, image.flatten(2).mT), 1)
    action = Tokens(2, height=6, width=9)
    moved, slope = action.act(g, tokens), action.lie(SE(2), tokens)
    assert torch.equal(moved[:, :2], still) and not slope[:, :, :2].any()
    torch.testing.assert_close(moved[:, 2:], Image().act(g, image).flatten(2).mT)
    torch.testing.assert_close(slope[:, :, 2:], Image().lie(SE(2), image).flatten(3).mT)


@pytest.mark.parametrize(("count", "leading"), [(196, 0), (197, 1), (198, 2)])
def test_leading_tokens_are_told_by_their_number(count: int, leading: int) -> None:
    x = torch.randn(1, count, 2, generator=torch.Generator().manual_seed(0))
    moved = Tokens().act(Cyclic(4).discrete[2], x)
    assert torch.equal(moved[:, :leading], x[:, :leading])
    torch.testing.assert_close(moved[:, leading:], x[:, leading:].flip(1), atol=1e-5, rtol=1e-5)


def test_words() -> None:
    for words in (
        "mask(fill=255)",
        "field",
        "field('scalar')",
        "field('pseudoscalar', padding='border')",
        "tokens(leading=1, height=4, width=6)",
        "image(gradient='spectral')",
    ):
        assert by_name(words).sentence == words
    assert by_name("field('vector')").sentence == "field"
    assert by_name("field('vector(2)')").sentence == "field('vector(2)')"


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ActionMismatch, match="maps"):
        Mask().check(torch.ones(2, 4))
    with pytest.raises(ActionMismatch, match="hold 255"):
        Mask(fill=255).check(torch.ones(2, 4, 4, dtype=torch.int8))
    with pytest.raises(ActionMismatch, match="even number"):
        Field().check(torch.ones(2, 3, 4, 4))
    with pytest.raises(ActionMismatch, match="multiple of 3"):
        Field(Vector(3)).check(torch.ones(2, 4, 4, 4))
    with pytest.raises(ActionMismatch, match="a batch of fields"):
        Field().check(torch.ones(2, 4, 4))
    with pytest.raises(ActionMismatch, match="square"):
        Tokens().check(torch.ones(2, 20, 4))
    with pytest.raises(ActionMismatch):
        Tokens().check(torch.ones(2, 3, 4, 4))
    for build in (lambda: Field("scalar"), lambda: Field(Image()), lambda: Mask(fill="x"), lambda: Tokens(-1)):
        with pytest.raises(InvalidSetting):
            build()
    with pytest.raises(InvalidSetting):
        Tokens(height=3)
