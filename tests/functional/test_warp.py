from __future__ import annotations

import pytest
import torch

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.residuals import relative_residual
from lightning_symmetry.functional.warp import (
    frame_to_pixels,
    image_gradient,
    pixel_coordinates,
    pixels_to_frame,
    read_canvas,
    sample_image,
    sample_nearest,
)


def test_longer_side_spans_two_and_pixels_are_square() -> None:
    p = pixel_coordinates(3, 6).reshape(3, 6, 2)
    size = 2 / 6
    torch.testing.assert_close(p[1, 0], torch.tensor([-1 + size / 2, 0.0]))
    torch.testing.assert_close(p[1, 5], torch.tensor([1 - size / 2, 0.0]))
    torch.testing.assert_close(p[2, 0] - p[1, 0], torch.tensor([0.0, size]))


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4), (1, 3)])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_reading_at_the_pixels_gives_the_image(shape: tuple[int, int], padding: str) -> None:
    image = torch.randn(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points = pixel_coordinates(*shape, dtype=torch.float64).expand(2, -1, -1)
    torch.testing.assert_close(sample_image(image, points, padding), image)


def test_reading_is_differentiable() -> None:
    image = torch.randn(1, 1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    points = (0.7 * pixel_coordinates(3, 4, dtype=torch.float64)[None] + 0.01).requires_grad_()
    assert torch.autograd.gradcheck(sample_image, (image, points))


@pytest.mark.parametrize("shape", [(6, 6), (5, 8), (9, 4)])
def test_slopes_of_waves(shape: tuple[int, int]) -> None:
    """On a grid of m samples a wave of k turns has the exact spectral slope, whatever the parity of m."""
    height, width = shape
    p = pixel_coordinates(height, width, dtype=torch.float64)
    size = 2 / max(shape)
    for axis, length in enumerate((width, height)):
        rate = 2 * torch.pi / (length * size)
        wave = torch.sin(rate * p[:, axis] + 0.3).reshape(1, 1, height, width)
        slope = rate * torch.cos(rate * p[:, axis] + 0.3).reshape(1, 1, height, width)
        gradient = image_gradient(wave, "spectral")
        torch.testing.assert_close(gradient[:, :, axis], slope)
        torch.testing.assert_close(gradient[:, :, 1 - axis], torch.zeros_like(slope), atol=1e-9, rtol=0)


def test_central_differences_of_a_parabola() -> None:
    p = pixel_coordinates(7, 5, dtype=torch.float64)
    image = (p[:, 1].square() + 2 * p[:, 0]).reshape(1, 1, 7, 5)
    gradient = image_gradient(image)
    torch.testing.assert_close(gradient[0, 0, 0], torch.full((7, 5), 2.0, dtype=torch.float64))
    torch.testing.assert_close(gradient[0, 0, 1, 1:-1], 2 * p[:, 1].reshape(7, 5)[1:-1])
    assert image_gradient(torch.ones(1, 1, 1, 4)).shape == (1, 1, 2, 1, 4)


def test_unknown_settings_are_refused() -> None:
    image = torch.zeros(1, 1, 2, 2)
    with pytest.raises(InvalidSetting):
        sample_image(image, torch.zeros(1, 4, 2), "wrap")
    with pytest.raises(InvalidSetting):
        image_gradient(image, "sobel")


def test_relative_residual_is_the_mean_square_over_the_scale() -> None:
    a, b = (torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(i)) for i in range(2))
    scale = torch.tensor([1.0, 2.0, 4.0])
    expected = torch.stack([((a[i] - b[i]) ** 2).mean() / scale[i] for i in range(3)])
    torch.testing.assert_close(relative_residual(a, b, scale), expected)
    torch.testing.assert_close(relative_residual(a[:, 0, 0], b[:, 0, 0], 1.0), (a - b)[:, 0, 0] ** 2)
    assert relative_residual(a.bfloat16(), b.bfloat16(), 1.0).dtype == torch.float32


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4), (1, 3)])
def test_the_nearest_pixel_of_a_pixel_is_itself(shape: tuple[int, int]) -> None:
    classes = torch.arange(2 * shape[0] * shape[1]).reshape(2, 1, *shape)
    for nudge in (-0.49, 0.0, 0.49):
        points = pixel_coordinates(*shape)[None] + nudge * 2 / max(shape)
        assert torch.equal(sample_nearest(classes, points), classes)
    assert (sample_nearest(classes, pixel_coordinates(*shape)[None] + 3, fill=-1) == -1).all()


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4)])
def test_pixels_and_coordinates_of_the_image_undo_each_other(shape: tuple[int, int]) -> None:
    height, width = shape
    centres = torch.cartesian_prod(torch.arange(height), torch.arange(width)).flip(1) + 0.5
    torch.testing.assert_close(pixels_to_frame(centres, *shape), pixel_coordinates(*shape))
    torch.testing.assert_close(frame_to_pixels(pixel_coordinates(*shape), *shape), centres)
    torch.testing.assert_close(frame_to_pixels(torch.ones(2), *shape, shift=False), torch.full((2,), max(shape) / 2))


def test_a_canvas_is_a_height_and_a_width() -> None:
    assert read_canvas(None) is None and read_canvas([4, 6]) == (4, 6)
    for wrong in ((4,), (4, 0), (4, 6, 3), (4.5, 6)):
        with pytest.raises(InvalidSetting):
            read_canvas(wrong)


@pytest.mark.parametrize("side", [8, 13, 32])
def test_the_bilinear_derivative_is_that_of_automatic_differentiation_at_a_kink(side: int) -> None:
    line = torch.rand(side, generator=torch.Generator().manual_seed(0))
    centres = torch.linspace(-1, 1, side, requires_grad=True)
    place = (centres + 1) / 2 * (side - 1)
    first = place.detach().floor().long().clamp(0, side - 1)
    share = place - first
    read = (1 - share) * line[first] + share * line[(first + 1).clamp_max(side - 1)]
    (slope,) = torch.autograd.grad(read.sum(), centres)
    # between the outer centres lie side - 1 pixels there, and all of them here
    expected = slope * side / (side - 1)
    image = line.expand(1, 1, side, side)
    found = image_gradient(image, "bilinear")[0, 0]
    torch.testing.assert_close(found[0, 0], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1], torch.zeros(side, side))
    steps = line.diff() * side / 2
    ahead, behind = torch.cat((steps, steps[:0].new_zeros(1))), torch.cat((steps.new_zeros(1), steps))
    assert bool((torch.isclose(found[0, 0], ahead) | torch.isclose(found[0, 0], behind)).all())
