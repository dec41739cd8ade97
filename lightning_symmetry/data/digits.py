"""Real handwritten digits: read from files or from scikit-learn's bundle, split, and drawn anywhere on a canvas."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.exceptions import InvalidFile, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.warp import pixel_coordinates

# torchvision's names: the digits of "test" alone, or both files.
FILES = {"test": "t10k", "train": "train"}
# Root mean square over the canvas of the ink, in [0, 1], of all digits.
MNIST_RMS = 0.338
BUNDLED_RMS = 0.324
# Drawn this much smaller than the canvas, no ink leaves the inscribed disc, so that turning loses nothing.
FILL = 0.75


def split_digits(
    digits: Mapping[str, tuple[Tensor, Tensor]], parts: Mapping[str, tuple[str, int]], seed: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Deal digits out, so that no two parts share one.

    Args:
        digits: Images and labels by the name of their file.
        parts: Name of every part, the file it comes from, and its size; they are served in turn.
        seed: Of the order.

    Returns:
        Images and labels by the name of the part.

    Raises:
        InvalidFile: There are not enough.
    """
    orders = {name: Rng(seed).uniform(len(y), dtype=torch.float64).argsort() for name, (_, y) in digits.items()}
    dealt = {}
    for part, (name, size) in parts.items():
        images, labels = digits[name]
        rows, orders[name] = orders[name][:size], orders[name][size:]
        if len(rows) < size:
            raise InvalidFile(
                got=f"{len(labels)} digits, {len(rows)} of which are left for {part!r}",
                expected=f"{size}",
                remedy="Ask for fewer; of MNIST, the training files hold more, for MNIST(split='train').",
            )
        dealt[part] = images[rows], labels[rows]
    return dealt


def draw_digits(
    digits: Tensor,
    size: int,
    angles: Tensor,
    shifts: Tensor | None = None,
    scales: Tensor | None = None,
    fill: float = FILL,
) -> Tensor:
    """Draw digits on a canvas, each scaled, turned and shifted by its own, with a single bilinear resampling.

    Args:
        digits: (B, 1, s, s).
        size: Pixels a side of the canvas.
        angles: (B,) radians; a positive angle turns x (right) towards y (down).
        shifts: (B, 2), x and y; the canvas is 2 wide.
        scales: (B,) factors.
        fill: Side of an unscaled digit's picture, in units of the canvas.

    Returns:
        (B, 1, size, size).
    """
    cos, sin = angles.cos(), angles.sin()
    backwards = torch.stack((torch.stack((cos, sin), -1), torch.stack((-sin, cos), -1)), -2)
    canvas = pixel_coordinates(size, size)
    placed = canvas if shifts is None else canvas - shifts.unsqueeze(1)
    points = placed @ backwards.mT / (fill if scales is None else fill * scales.view(-1, 1, 1))
    grid = points.reshape(len(digits), size, size, 2)
    return F.grid_sample(digits, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def load_bundled() -> tuple[Tensor, Tensor]:
    """Read the 1797 digits that scikit-learn bundles.

    Returns:
        (1797, 1, 8, 8) images in units of the ink's root mean square, and labels.

    Raises:
        InvalidSetting: scikit-learn is missing.
    """
    if find_spec("sklearn") is None:
        raise InvalidSetting(
            got="a Python without scikit-learn",
            expected="the recipes extra, whose scikit-learn bundles the digits",
            remedy="Run: pip install 'lightning-symmetry[recipes]'.",
        )
    from sklearn.datasets import load_digits

    bundle = load_digits()
    images = torch.as_tensor(bundle.images, dtype=torch.float32)[:, None] / (16 * BUNDLED_RMS)
    return images, torch.as_tensor(bundle.target, dtype=torch.int64)


def load_mnist(root: Path, name: str) -> tuple[Tensor, Tensor]:
    """Read a file of MNIST.

    Args:
        root: Folder with the folder MNIST.
        name: "test" or "train".

    Returns:
        (N, 28, 28) images and (N,) labels, both whole bytes.

    Raises:
        InvalidFile: It is missing or damaged.
    """
    folder = root / "MNIST" / "raw"
    pixels = _read_idx(folder / f"{FILES[name]}-images-idx3-ubyte", 16)
    labels = _read_idx(folder / f"{FILES[name]}-labels-idx1-ubyte", 8)
    if len(pixels) != len(labels) * 28 * 28:
        raise InvalidFile(
            got=f"{len(pixels) / 28**2:g} images and {len(labels)} labels in {folder}",
            expected="one label an image",
            remedy="Fetch both files again.",
        )
    return pixels.reshape(-1, 28, 28), labels


def weigh_mnist(digits: Tensor) -> Tensor:
    """Turn bytes (B, 28, 28) into images (B, 1, 28, 28) in units of the ink's root mean square."""
    return digits.unsqueeze(1).float() / (255 * MNIST_RMS)


def _read_idx(file: Path, header: int) -> Tensor:
    """Read the bytes after the header of a file, packed or not."""
    packed = file.with_name(f"{file.name}.gz")
    try:
        content = file.read_bytes() if file.exists() else gzip.decompress(packed.read_bytes())
    except FileNotFoundError as error:
        raise InvalidFile(
            got=f"no {file.name}[.gz] in {file.parent}",
            expected="torchvision's files of MNIST; nothing is downloaded unasked",
            remedy="Copy them there from a machine that has them, name the folder above MNIST by "
            "--data.init_args.root, or let data.MNIST fetch them by --data.init_args.download true.",
        ) from error
    except (OSError, EOFError) as error:
        raise InvalidFile(f"{packed} ({error})", "a readable gzip file", "Fetch it again.") from error
    return torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8)
