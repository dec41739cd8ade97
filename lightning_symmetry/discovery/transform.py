"""A learnt law as a transform of torchvision."""

from __future__ import annotations

import copy
from typing import Any, final

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from lightning_symmetry.actions import Box, Image, Keypoints, Mask
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Element
from lightning_symmetry.samplers import Sampler
from lightning_symmetry.symmetry import Symmetry


@final
class SymmetryTransform(v2.Transform):
    """Draws an element of a law and moves everything of one call by it: images, masks, boxes, keypoints.

    A batch in one call moves as one. torch's global generator gives the seed of each draw and nothing else, so that
    ``torch.manual_seed`` and the workers of a DataLoader act as on every other transform. Boxes become the upright
    hulls of their moved corners, cut to the canvas.

    Args:
        symmetry: A law on the plane that moves images; it is copied as it stands.

    Raises:
        InvalidSetting: It moves something else, or its law depends on the data.
    """

    def __init__(self, symmetry: Symmetry) -> None:
        super().__init__()
        self.sampler = copy_law(symmetry)
        self._sentence = symmetry.sentence
        parts = [action for side in (symmetry.input, symmetry.output) for _, action in side.parts]
        self.image = copy.deepcopy(next((a for a in parts if isinstance(a, Image)), Image()))
        self.mask = copy.deepcopy(next((a for a in parts if isinstance(a, Mask)), Mask()))
        self._swap = next((a.swap for a in parts if isinstance(a, Keypoints)), [])

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw one element."""
        tensors = [x for x in flat_inputs if isinstance(x, Tensor)]
        device = tensors[0].device if tensors else torch.device("cpu")
        seed = int(torch.randint(2**62, ()))
        g, _ = self.sampler.to(device).sample(torch.zeros(1, 1, device=device), 1, Rng(seed))
        return {"g": g}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Move one input."""
        g: Element = params["g"]
        if not isinstance(inpt, Tensor):
            return F.to_pil_image(self._move_image(g, F.pil_to_tensor(inpt)), mode=inpt.mode)
        plain = inpt.as_subclass(Tensor)
        if isinstance(inpt, tv_tensors.Mask):
            return tv_tensors.wrap(
                self.mask.act(g, plain.reshape(-1, *plain.shape[-2:])).reshape(plain.shape), like=inpt
            )
        if isinstance(inpt, tv_tensors.KeyPoints):
            places = Keypoints(inpt.canvas_size, self._swap).act(g, plain.reshape(1, -1, 2).float())
            return tv_tensors.wrap(_restore(places.reshape(plain.shape), plain), like=inpt)
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            hulls = Box(inpt.format.value.lower(), inpt.canvas_size).act(g, plain.reshape(1, -1, 4).float())
            return F.clamp_bounding_boxes(tv_tensors.wrap(_restore(hulls.reshape(plain.shape), plain), like=inpt))
        moved = self._move_image(g, plain)
        return moved if type(inpt) is Tensor else tv_tensors.wrap(moved, like=inpt)

    def _move_image(self, g: Element, image: Tensor) -> Tensor:
        """Move (..., C, H, W) of any type."""
        pixels = image.reshape(-1, 1, *image.shape) if image.ndim < 3 else image.reshape(-1, *image.shape[-3:])
        moved = self.image.act(g, pixels if pixels.is_floating_point() else pixels.float())
        return _restore(moved.reshape(image.shape), image)

    def __repr__(self) -> str:
        """Show the sentence and the law."""
        return f"{type(self).__name__}({self._sentence!r}, {type(self.sampler).__name__})"


def copy_law(symmetry: Symmetry) -> Sampler:
    """Copy the law of a symmetry that moves images, on the CPU, nothing of it learnable.

    Args:
        symmetry: Bound or not.

    Returns:
        A law of elements of the plane.

    Raises:
        InvalidSetting: It moves no images, or its law depends on the data.
    """
    space, nodes = symmetry.group.part("space"), symmetry.group.part("nodes")
    images = any(isinstance(action, (Image, Mask)) for _, action in symmetry.input.parts)
    if not images or space is None or nodes is not None:
        raise InvalidSetting(
            f"{symmetry.sentence!r}", "a group of the plane that moves images", 'For example "SE(2) on image -> label".'
        )
    if symmetry.sampler.reads != "nothing":
        raise InvalidSetting(
            f"{type(symmetry.sampler).__name__}, which follows the data", "a law", "Use Uniform, Normal or Haar."
        )
    law = copy.deepcopy(symmetry.sampler).cpu().float().requires_grad_(False)
    law.group.part("space").bind(2)  # type: ignore[union-attr]
    return law.bind().requires_grad_(False)


def _restore(moved: Tensor, like: Tensor) -> Tensor:
    """Give moved numbers the type they had before."""
    if like.dtype == moved.dtype or like.is_floating_point():
        return moved.to(like.dtype)
    if like.dtype == torch.bool:
        return moved > 0.5
    limits = torch.iinfo(like.dtype)
    return moved.round().clamp(limits.min, limits.max).to(like.dtype)
