"""Pixels as points of the plane: where they lie, reading between them, and slopes.

Coordinates are (x right, y down) at pixel centres; the longer side spans [-1, 1] and pixels are square, so that a
rotation of an image that is not square is a true rotation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting

PADDINGS = ("zeros", "border", "reflection")
GRADIENTS = ("central", "spectral", "bilinear")


def pixel_size(height: int, width: int) -> float:
    """Give the side of a pixel, in units where the longer side of the image is 2.

    Args:
        height: Pixels down.
        width: Pixels across.

    Returns:
        ``2 / max(height, width)``.
    """
    return 2.0 / max(height, width)


def pixel_coordinates(
    height: int,
    width: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """List the centres of all pixels, row by row.

    Args:
        height: Pixels down.
        width: Pixels across.
        device: Where the result goes.
        dtype: Of the result.

    Returns:
        (height * width, 2): x to the right, y down.

    Example:
        >>> pixel_coordinates(1, 2)
        tensor([[-0.5000,  0.0000],
                [ 0.5000,  0.0000]])
    """
    size = pixel_size(height, width)
    x = (torch.arange(width, device=device, dtype=dtype) - (width - 1) / 2) * size
    y = (torch.arange(height, device=device, dtype=dtype) - (height - 1) / 2) * size
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)), -1).reshape(-1, 2)


def sample_image(image: Tensor, points: Tensor, padding: str = "zeros") -> Tensor:
    """Read an image at given points, bilinearly; gradients reach the image and the points.

    Args:
        image: (B, C, H, W).
        points: (B, H*W, 2), in the coordinates of this module; point ``i`` fills the ``i``-th pixel of the result.
        padding: What lies outside: "zeros", "border" or "reflection".

    Returns:
        (B, C, H, W).

    Raises:
        InvalidSetting: The padding is unknown.

    Example:
        >>> image = torch.arange(6.0).reshape(1, 1, 2, 3)
        >>> bool(torch.allclose(sample_image(image, pixel_coordinates(2, 3)[None]), image))
        True
    """
    if padding not in PADDINGS:
        raise InvalidSetting(f"padding {padding!r}", f"one of {', '.join(PADDINGS)}", "Choose one of these.")
    height, width = image.shape[-2:]
    longer = max(height, width)
    if height != width:
        points = points * points.new_tensor((longer / width, longer / height))
    grid = points.reshape(points.shape[0], height, width, 2).expand(image.shape[0], -1, -1, -1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def sample_nearest(image: Tensor, points: Tensor, fill: float = 0) -> Tensor:
    """Read an image of any type at the pixels nearest to given points; no gradient reaches anything.

    Args:
        image: (B, C, H, W).
        points: (B, H*W, 2) or (1, H*W, 2), in the coordinates of this module; point ``i`` fills the ``i``-th pixel.
        fill: What lies outside.

    Returns:
        (B, C, H, W) of the type of the image.

    Example:
        >>> image = torch.arange(6).reshape(1, 1, 2, 3)
        >>> bool(sample_nearest(image, pixel_coordinates(2, 3)[None]).eq(image).all())
        True
    """
    height, width = image.shape[-2:]
    size = points.new_tensor((width, height))
    place = (points.detach() / pixel_size(height, width) + size / 2).floor()
    inside = ((place >= 0) & (place < size)).all(-1)
    column, row = place.where(inside.unsqueeze(-1), 0).long().unbind(-1)
    index = (row * width + column).unsqueeze(1).expand(*image.shape[:2], -1)
    read = image.flatten(2).gather(2, index)
    return read.where(inside.unsqueeze(1), torch.full_like(read[:1, :1, :1], fill)).reshape(image.shape)


def read_canvas(canvas_size: Sequence[int] | None) -> tuple[int, int] | None:
    """Check the shape of an image.

    Args:
        canvas_size: (height, width), or None.

    Returns:
        The same as a tuple of whole numbers.

    Raises:
        InvalidSetting: It is something else.

    Example:
        >>> read_canvas([480, 640])
        (480, 640)
    """
    if canvas_size is None:
        return None
    if len(canvas_size) != 2 or not all(side == int(side) and side > 0 for side in canvas_size):
        raise InvalidSetting(
            f"canvas_size={canvas_size!r}", "(height, width), two positive numbers of pixels", "Give the image's shape."
        )
    return int(canvas_size[0]), int(canvas_size[1])


def frame_to_pixels(points: Tensor, height: int, width: int, shift: bool = True) -> Tensor:
    """Turn coordinates of this module into pixels, counted from the outer corner of the first pixel.

    Args:
        points: (..., 2).
        height: Pixels down.
        width: Pixels across.
        shift: Whether the origin moves too; not for velocities.

    Returns:
        (..., 2).

    Example:
        >>> frame_to_pixels(torch.tensor([0.0, 0.0]), 4, 6)
        tensor([3., 2.])
    """
    pixels = points / pixel_size(height, width)
    return pixels + points.new_tensor((width / 2, height / 2)) if shift else pixels


def pixels_to_frame(pixels: Tensor, height: int, width: int) -> Tensor:
    """Turn pixels, counted from the outer corner of the first pixel, into coordinates of this module.

    Args:
        pixels: (..., 2).
        height: Pixels down.
        width: Pixels across.

    Returns:
        (..., 2).

    Example:
        >>> pixels_to_frame(torch.tensor([0.0, 0.0]), 4, 4)
        tensor([-1., -1.])
    """
    return (pixels - pixels.new_tensor((width / 2, height / 2))) * pixel_size(height, width)


def image_gradient(image: Tensor, method: str = "central") -> Tensor:
    """Differentiate an image with respect to the coordinates of this module.

    Args:
        image: (B, C, H, W).
        method: "central" differences (one-sided at the border); "spectral" (exact for periodic band-limited images); or
            "bilinear", for comparisons only: what automatic differentiation of bilinear reading gives at the centre of
            a pixel, where it has a kink. It is the difference to one neighbour, and rounding in the published order of
            operations chooses which; its error is of first order.

    Returns:
        (B, C, 2, H, W): the derivatives along x, then y.

    Raises:
        InvalidSetting: The method is unknown.

    Example:
        >>> ramp = pixel_coordinates(4, 4)[:, 0].reshape(1, 1, 4, 4)
        >>> image_gradient(ramp)[0, 0].mean((1, 2))
        tensor([1., 0.])
    """
    if method not in GRADIENTS:
        raise InvalidSetting(f"gradient {method!r}", f"one of {', '.join(GRADIENTS)}", "Choose one of these.")
    size = pixel_size(*image.shape[-2:])
    slope = {"central": _central, "spectral": _spectral, "bilinear": _one_sided}[method]
    return torch.stack((slope(image, -1, size), slope(image, -2, size)), -3)


def _central(image: Tensor, axis: int, size: float) -> Tensor:
    if image.shape[axis] == 1:
        return torch.zeros_like(image)
    return torch.gradient(image, spacing=size, dim=axis)[0]


def _one_sided(image: Tensor, axis: int, size: float) -> Tensor:
    length = image.shape[axis]
    centres = torch.linspace(-1, 1, length, device=image.device, dtype=image.dtype)
    first = ((centres + 1) / 2 * (length - 1)).floor().long().clamp(0, length - 1)
    # beyond the last pixel lies the last pixel
    second = (first + 1).clamp_max(length - 1)
    return (image.index_select(axis, second) - image.index_select(axis, first)) / size


def _spectral(image: Tensor, axis: int, size: float) -> Tensor:
    length = image.shape[axis]
    waves = torch.fft.rfftfreq(length, d=size, device=image.device, dtype=image.dtype) * (2 * torch.pi)
    if length % 2 == 0:
        # The highest wave of an even number of samples has no odd partner, hence no slope.
        waves[-1] = 0
    shape = [1] * image.ndim
    shape[axis] = -1
    return torch.fft.irfft(torch.fft.rfft(image, dim=axis) * (1j * waves).reshape(shape), n=length, dim=axis)
