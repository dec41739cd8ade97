"""Exported laws move by what was learnt, measured on images with a marker."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightning_symmetry import Symmetry
from lightning_symmetry.discovery import to_albumentations, to_kornia, to_torchvision, to_torchvision_snippet
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.warp import pixel_coordinates
from lightning_symmetry.groups import (
    GL,
    SE,
    SO,
    AnisotropicScaling,
    Cyclic,
    Dihedral,
    Given,
    Group,
    O,
    Permutations,
    Scale,
    Translation,
)
from lightning_symmetry.samplers import Haar, Normal, OneHot, PCAFrames, Sampler, Uniform

SIDE = 49
DRAWS = 300


def blob(x: float, y: float, height: int = SIDE, width: int = SIDE) -> Tensor:
    """One image (1, H, W) with a soft marker."""
    p = pixel_coordinates(height, width)
    return torch.exp(-(p - torch.tensor([x, y])).square().sum(-1) / 0.01).reshape(1, height, width)


def centre(image: Tensor) -> Tensor:
    """Where the marker of (..., 1, H, W) lies: (..., 2)."""
    p = pixel_coordinates(*image.shape[-2:])
    mass = image.flatten(-3).float()
    return (mass @ p) / mass.sum(-1, keepdim=True)


def say(over: Group | Sampler | str, sentence: str = "image -> label") -> Symmetry:
    return Symmetry.parse(sentence, over=over) if not isinstance(over, str) else Symmetry.parse(f"{over} on {sentence}")


def run(snippet: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(snippet, namespace)
    return namespace["augment"]


def by_ours(symmetry: Symmetry, image: Tensor) -> Tensor:
    augment = to_torchvision(symmetry)
    return torch.stack([augment(image) for _ in range(DRAWS)])


def by_torchvision(symmetry: Symmetry, image: Tensor) -> Tensor:
    augment = run(to_torchvision_snippet(symmetry, tuple(image.shape[-2:])))
    return torch.stack([augment(image) for _ in range(DRAWS)])


def by_kornia(symmetry: Symmetry, image: Tensor) -> Tensor:
    pytest.importorskip("kornia")
    augment = run(to_kornia(symmetry, tuple(image.shape[-2:])))
    return torch.cat([augment(image.expand(10, -1, -1, -1)) for _ in range(DRAWS // 10)])


def by_albumentations(symmetry: Symmetry, image: Tensor) -> Tensor:
    # it asks the network for a newer version of itself otherwise
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    pytest.importorskip("albumentations")
    augment = run(to_albumentations(symmetry, tuple(image.shape[-2:])))
    augment.set_random_seed(0)
    array = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    moved = [augment(image=array)["image"].reshape(*image.shape[-2:], 1) for _ in range(DRAWS)]
    return torch.from_numpy(np.stack(moved)).permute(0, 3, 1, 2)


ALL = [by_ours, by_torchvision, by_kornia, by_albumentations]
Target = Callable[[Symmetry, Tensor], Tensor]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def assert_uniform(values: Tensor, reach: float, tolerance: float, cut: float = 0.0) -> None:
    """Values fill [-reach, reach] evenly, but for what measuring on pixels costs and for what a library cuts off."""
    assert float(values.abs().max()) < reach + tolerance
    assert float(values.max()) > 0.9 * reach - cut and float(values.min()) < -0.9 * reach + cut
    # the standard deviation of a uniform law; of 300 draws it is known to 5 % at two standard errors
    deviation = float(values.std()) * 3**0.5
    assert 0.9 * (reach - cut) < deviation < 1.1 * reach


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize(
    "over", [Uniform(SO(2), 0.6), Uniform(Given([[[0.0, -1.5], [1.5, 0.0]]], affine=False), 0.4)], ids=["SO", "learnt"]
)
def test_the_range_of_angles_is_the_learnt_one(target: Target, over: Sampler) -> None:
    place = centre(target(say(over), blob(0.5, 0.0)))
    assert_uniform(torch.atan2(place[:, 1], place[:, 0]), 0.6, 0.02)
    torch.testing.assert_close(place.norm(dim=1), torch.full((DRAWS,), 0.5), atol=0.02, rtol=0)


def test_signs_of_the_libraries_are_as_the_exports_assume() -> None:
    kornia = pytest.importorskip("kornia.augmentation")
    albumentations = pytest.importorskip("albumentations")
    image = blob(0.5, 0.0)
    array = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    turned = {
        "kornia": centre(kornia.RandomAffine(degrees=(30.0, 30.0), p=1.0)(image[None]))[0],
        "albumentations": centre(
            torch.from_numpy(
                albumentations.Affine(rotate=(-30.0, -30.0), p=1.0)(image=array)["image"].reshape(1, SIDE, SIDE)
            )
        ),
        "torchvision's Affine": centre(v2.RandomAffine((30.0, 30.0))(image)),
        "torchvision's Rotation": centre(v2.RandomRotation((-30.0, -30.0))(image)),
    }
    # here a positive angle turns x to y
    expected = SO(2).exp(torch.tensor([[math.pi / 6]]))(torch.tensor([[[0.5, 0.0]]]))[0, 0]
    for library, place in turned.items():
        torch.testing.assert_close(place, expected, atol=0.02, rtol=0, msg=library)


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("shape", [(SIDE, SIDE), (33, 65)], ids=str)
def test_the_range_of_shifts_is_the_learnt_one(target: Target, shape: tuple[int, int]) -> None:
    place = centre(target(say(Uniform(Translation(2), [0.3, 0.15])), blob(0.0, 0.0, *shape)))
    # torchvision rounds to whole pixels, half of which is 0.02; albumentations cuts up to one off
    cut = 2 / max(shape) if target is by_albumentations else 0.0
    assert_uniform(place[:, 0], 0.3, 0.02, cut)
    assert_uniform(place[:, 1], 0.15, 0.02, cut)


@pytest.mark.parametrize("target", ALL)
def test_the_range_of_factors_is_the_learnt_one(target: Target) -> None:
    factors = centre(target(say(Uniform(Scale(2), 0.3)), blob(0.5, 0.0)))[:, 0] / 0.5
    assert abs(float(factors.max()) - math.exp(0.3)) < 0.06 and abs(float(factors.min()) - math.exp(-0.3)) < 0.06


@pytest.mark.parametrize("target", [by_ours, by_kornia, by_albumentations])
def test_axes_are_scaled_apart(target: Target) -> None:
    factors = centre(target(say(Uniform(AnisotropicScaling(2), [0.3, 0.1])), blob(0.5, 0.5))) / 0.5
    for axis, reach in enumerate((0.3, 0.1)):
        assert abs(float(factors[:, axis].max()) - math.exp(reach)) < 0.05
        assert abs(float(factors[:, axis].min()) - math.exp(-reach)) < 0.05
    assert abs(float(torch.corrcoef(factors.T)[0, 1])) < 0.2


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("axis", [0, 1])
def test_shears_go_along_their_axis(target: Target, axis: int) -> None:
    generator = torch.zeros(1, 2, 2)
    generator[0, axis, 1 - axis] = 1.0
    place = centre(target(say(Uniform(Given(generator, affine=False), 0.4)), blob(0.5, 0.5)))
    assert_uniform((place[:, axis] - 0.5) / 0.5, 0.4, 0.05)
    assert float((place[:, 1 - axis] - 0.5).abs().max()) < 0.05


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("group", [Cyclic(2), Cyclic(4), Cyclic(5), Dihedral(1), Dihedral(3), Dihedral(4)], ids=str)
def test_finite_groups_keep_all_elements(target: Target, group: Group) -> None:
    start = torch.tensor([0.5, 0.2])
    place = centre(target(say(group), blob(*start.tolist())))
    assert group.discrete is not None
    orbit = group.discrete(start.reshape(1, 1, 2).expand(len(group.discrete), -1, -1))[:, 0]
    distance = torch.cdist(place, orbit)
    assert float(distance.amin(1).max()) < 0.04
    share = torch.bincount(distance.argmin(1), minlength=len(orbit)) / DRAWS
    # kornia chooses turns for ten images at a time, so that 30 choices decide
    assert float(share.min()) > 0.2 / len(orbit)


@pytest.mark.parametrize("target", ALL)
def test_mirrors_are_half_of_all(target: Target) -> None:
    # the mirror takes the brighter marker to the left, small turns do not
    image = blob(0.6, 0.0) + 0.5 * blob(0.0, 0.6)
    mirrored = centre(target(say(Uniform(O(2), 0.2)), image))[:, 0] < 0
    assert 0.4 < float(mirrored.float().mean()) < 0.6


@pytest.mark.parametrize("target", [by_ours, by_torchvision, by_kornia, by_albumentations])
def test_a_one_hot_law_moves_one_way_at_a_time(target: Target) -> None:
    place = centre(target(say(OneHot(Translation(2), [0.3, 0.3])), blob(0.0, 0.0)))
    assert float(place.abs().amin(1).max()) < 0.01
    assert float((place[:, 0].abs() > 0.02).float().mean()) > 0.2 < float((place[:, 1].abs() > 0.02).float().mean())


def test_the_haar_law_is_a_full_turn() -> None:
    assert "degrees=(-180.0, 180.0)" in to_kornia(say(Haar(SO(2))))


def test_turns_are_written_with_the_sign_of_each_library() -> None:
    symmetry = say(Cyclic(3))
    assert "RandomRotation((-120.0, -120.0)" in to_torchvision_snippet(symmetry)
    assert "RandomAffine(degrees=(120.0, 120.0)" in to_kornia(symmetry)
    assert "Affine(rotate=(-120.0, -120.0)" in to_albumentations(symmetry)


def test_a_normal_law_keeps_its_deviation() -> None:
    symmetry = say(Normal(SO(2), 0.2, learnable=False))
    place = centre(by_torchvision(symmetry, blob(0.5, 0.0)))
    assert abs(float(torch.atan2(place[:, 1], place[:, 0]).std()) - 0.2) < 0.02
    assert "# the law is normal" in to_torchvision_snippet(symmetry)


def test_what_has_no_words_is_refused_or_said() -> None:
    squeeze = Given([[[1.0, 0.0], [0.0, -1.0]]], affine=False)
    mixed = Given([[[0.3, -1.0], [0.1, 0.9]]], affine=False)
    for group in (squeeze, mixed):
        for write in (to_torchvision_snippet, to_kornia, to_albumentations):
            with pytest.raises(InvalidSetting, match=r"to_torchvision\(symmetry\)"):
                write(say(Uniform(group, 0.3)))
        assert to_torchvision(say(Uniform(group, 0.3)))(blob(0.5, 0.0)).shape == (1, SIDE, SIDE)
    assert "# no words for: squeeze" in to_kornia(say(Uniform(GL(2), 0.3)))
    with pytest.raises(InvalidSetting, match="stretch|factors"):
        to_torchvision_snippet(say(Uniform(AnisotropicScaling(2), 0.3)))
    with pytest.raises(InvalidSetting, match="moves nothing"):
        to_kornia(say(Uniform(SO(2), 0.0)))


@pytest.mark.parametrize(
    "symmetry",
    [
        Symmetry.parse("SO(2) on vector -> label"),
        Symmetry(PCAFrames(SO(2)), "image", "label"),
        Symmetry(Permutations(3), "image", "label"),
    ],
    ids=["vectors", "frames", "nodes"],
)
def test_only_laws_that_move_images_are_exported(symmetry: Symmetry) -> None:
    with pytest.raises(InvalidSetting):
        to_torchvision(symmetry)


def test_image_mask_box_and_keypoints_move_alike() -> None:
    augment = to_torchvision(say(Uniform(SE(2), [0.5, 0.2, 0.2])))
    image = tv_tensors.Image((255 * blob(0.4, -0.2)).to(torch.uint8))
    hot = (image.float() > 128).to(torch.uint8)
    column, row = ((torch.tensor([0.4, -0.2]) + 1) * SIDE / 2).tolist()
    sample = {
        "image": image,
        "mask": tv_tensors.Mask(hot),
        "box": tv_tensors.BoundingBoxes(
            [[column - 2, row - 2, column + 2, row + 2]], format="XYXY", canvas_size=(SIDE, SIDE)
        ),
        "points": tv_tensors.KeyPoints([[column - 0.5, row - 0.5]], canvas_size=(SIDE, SIDE)),
        "label": 3,
    }
    for _ in range(5):
        out = augment(sample)
        assert out["label"] == 3 and {type(out[k]) for k in sample} == {type(sample[k]) for k in sample}
        assert out["image"].dtype == torch.uint8 and out["mask"].dtype == torch.uint8
        assert set(out["mask"].unique().tolist()) <= {0, 1}
        place = centre(out["image"])
        torch.testing.assert_close(centre(out["mask"]), place, atol=0.03, rtol=0)
        pixels = (place + 1) * SIDE / 2
        torch.testing.assert_close(out["points"].as_subclass(Tensor)[0] + 0.5, pixels, atol=0.3, rtol=0)
        middle = out["box"].as_subclass(Tensor)[0].float().reshape(2, 2).mean(0)
        torch.testing.assert_close(middle, pixels, atol=0.6, rtol=0)


def test_batches_single_images_and_pictures_are_taken() -> None:
    augment = to_torchvision(say(Uniform(SO(2), 1.0)))
    image = blob(0.5, 0.0)
    batch = augment(image.expand(4, 3, -1, -1))
    assert batch.shape == (4, 3, SIDE, SIDE) and torch.equal(batch[0], batch[3])
    torch.manual_seed(5)
    single = augment(image)
    torch.manual_seed(5)
    picture = augment(v2.functional.to_pil_image(image))
    assert picture.mode == "L" and picture.size == (SIDE, SIDE)
    torch.testing.assert_close(v2.functional.to_image(picture).float() / 255, single, atol=0.02, rtol=0)
    composed = v2.Compose([augment, v2.ToDtype(torch.float16)])
    assert composed(image).dtype == torch.float16


class Images(Dataset[Tensor]):
    def __init__(self, augment: Any) -> None:
        self.augment = augment

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Tensor:
        return self.augment(blob(0.5, 0.0))


def test_the_global_seed_decides_and_workers_differ() -> None:
    augment = pickle.loads(pickle.dumps(to_torchvision(say(Uniform(SO(2), 1.0)))))
    assert repr(augment) == "SymmetryTransform('SO(2) on image -> label', Uniform)"
    torch.manual_seed(1)
    first = augment(blob(0.5, 0.0))
    torch.manual_seed(1)
    assert torch.equal(augment(blob(0.5, 0.0)), first)
    assert not torch.equal(augment(blob(0.5, 0.0)), first)
    drawn = torch.cat(list(DataLoader(Images(augment), batch_size=2, num_workers=2)))
    angles = torch.atan2(*centre(drawn).flip(-1).unbind(-1)).round(decimals=3)
    assert len(angles.unique()) == 8


def test_a_learnt_law_is_copied_as_it_stands() -> None:
    sampler = Uniform(SO(2), 0.1, learnable=True)
    augment = to_torchvision(say(sampler))
    with torch.no_grad():
        sampler.raw_width.fill_(3.0)  # type: ignore[union-attr]
    assert not any(p.requires_grad for p in augment.parameters())
    g, _ = augment.sampler.sample(torch.zeros(100, 1), 1, Rng(0))
    assert float(g.coordinates.abs().max()) < 0.1 + 1e-6
