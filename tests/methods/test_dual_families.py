"""Families draw one transformation a sample and move each by its own, as a loop over samples would."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as tv

from lightning_symmetry.exceptions import (
    ActionMismatch,
    AmbiguousPath,
    DimensionMismatch,
    InvalidSetting,
    SentenceError,
    UnknownName,
)
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.methods.dual import photometric
from lightning_symmetry.methods.dual.families import Family, Geometric, Mixture, by_name, operation, randaugment
from lightning_symmetry.methods.dual.photometric import OPERATIONS, Photometric
from lightning_symmetry.paths import find_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.samplers import Normal
from lightning_symmetry.symmetry import Symmetry

ROWS = 12
GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


def images(rows: int = ROWS, channels: int = 3, size: int = 9) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(rows, channels, size, size, generator=generator)
    return {"image": pixels, "age": torch.arange(rows).float(), "scale": 2.0, "flag": None}


def vectors() -> dict[str, Any]:
    return {"x": torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(0)), "w": torch.ones(3)}


def graphs() -> dict[str, Any]:
    owner = torch.tensor([0, 0, 1, 2, 2, 2])
    return {"pos": torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), "z": torch.arange(6), "batch": owner}


CASES: dict[str, tuple[Callable[[], Family], Callable[[], dict[str, Any]]]] = {
    **{name: (lambda name=name: operation(name, "wide"), images) for name in (*OPERATIONS, *GEOMETRIC)},
    "rotations of images": (lambda: Geometric("SO(2) on image -> label", width=3.0), images),
    "affine maps of normalised images": (lambda: Geometric("affine on image -> label", mean=0.5, std=0.2), images),
    "rotations of vectors": (lambda: Geometric("SO(2) on x=vector(2) -> label"), vectors),
    "motions of graphs": (lambda: Geometric("SE(3) on pos=points -> label"), graphs),
    "a finite group": (lambda: Geometric("D4 on image -> label"), images),
    "randaugment": (randaugment, images),
    "a mixture of vectors": (
        lambda: Mixture(["SO(2) on x=vector -> label", "scale on x=vector -> label"], [1, 3]),
        vectors,
    ),
    "a mixture of graphs": (lambda: Mixture(["SO(3) on pos=points -> label", "scale on pos=points -> label"]), graphs),
    "a mixture of mixtures": (lambda: Mixture([randaugment("wide"), "D4 on image -> label"]), images),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Family, dict[str, Any]]:
    make, data = request.param
    return make(), data()


def moved(family: Family, x: Any, counter: int = 0) -> Any:
    return family.move(family.draw(x, Rng(0, counter)), x)


def assert_same(a: Any, b: Any, tolerance: float = 0.0) -> None:
    left, right = find_leaves(a), find_leaves(b)
    assert list(left) == list(right)
    for path, leaf in left.items():
        torch.testing.assert_close(leaf, right[path], atol=tolerance, rtol=tolerance)


# ------------------------------------------------------------------------------------------------- every family


def test_shapes_types_and_everything_else_are_kept(case: tuple[Family, dict[str, Any]]) -> None:
    family, x = case
    before = copy.deepcopy(x)
    out = moved(family, x)
    assert_same(x, before)
    (path,) = [p for p in ("image", "x", "pos") if p in x]
    assert list(out) == list(x) and all(out[key] is x[key] for key in x if key != path)
    assert (out[path].shape, out[path].dtype) == (x[path].shape, x[path].dtype)
    assert not torch.equal(out[path], x[path])


def test_what_a_row_becomes_depends_on_its_own_row_alone(case: tuple[Family, dict[str, Any]]) -> None:
    family, x = case
    if "batch" in x:
        pytest.skip("a graph's rows are selected by the graph")
    moves = family.draw(x, Rng(0))
    together = family.move(moves, x)
    (path,) = [p for p in ("image", "x") if p in x]
    for row in range(ROWS):
        alone = {key: leaf[row : row + 1] if key in (path, "age") else leaf for key, leaf in x.items()}
        # kernels may add in another order for one sample than for many
        torch.testing.assert_close(
            family.move(moves[torch.tensor([row])], alone)[path], together[path][row : row + 1], atol=1e-5, rtol=1e-5
        )


def test_rows_are_selected_by_numbers_and_by_masks(case: tuple[Family, dict[str, Any]]) -> None:
    family, x = case
    moves = family.draw(x, Rng(0))
    count = len(moves)
    mask = torch.arange(count) % 3 == 1
    assert len(moves[mask]) == int(mask.sum())
    if "batch" not in x:
        taken = {k: v[mask] if isinstance(v, Tensor) and len(v) == count else v for k, v in x.items()}
        assert_same(family.move(moves[mask], taken), family.move(moves[mask.nonzero().squeeze(1)], taken))


def test_draws_follow_from_seed_step_and_global_row(case: tuple[Family, dict[str, Any]]) -> None:
    family, x = case
    assert_same(moved(family, x), moved(family, x))
    if family.name not in ("autocontrast", "equalize", "invert"):
        pairs = zip(leaves(moved(family, x)), leaves(moved(family, x, 1)), strict=True)
        assert not all(torch.equal(a, b) for a, b in pairs)
    if "batch" in x:
        return
    whole = moved(family, x)
    for rank in range(2):
        shard = {k: v[rank::2] if isinstance(v, Tensor) and len(v) == ROWS else v for k, v in x.items()}
        dealt = family.move(family.draw(shard, Rng(0, rank=rank, world=2)), shard)
        (path,) = [p for p in ("image", "x") if p in x]
        torch.testing.assert_close(dealt[path], whole[path][rank::2], atol=1e-5, rtol=1e-5)


def leaves(x: Any) -> list[Tensor]:
    return list(find_leaves(x).values())


def test_the_global_generator_is_left_alone(case: tuple[Family, dict[str, Any]]) -> None:
    family, x = case
    torch.manual_seed(3)
    before = torch.get_rng_state()
    moved(family, x)
    assert torch.equal(torch.get_rng_state(), before)


def test_pickled_and_copied_families_draw_the_same(case: tuple[Family, dict[str, Any]]) -> None:
    family, x = case
    expected = moved(family, x)
    for twin in (pickle.loads(pickle.dumps(family)), copy.deepcopy(family)):
        assert_same(moved(twin, x), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_gives_nearly_what_single_precision_gives(
    case: tuple[Family, dict[str, Any]], dtype: Any
) -> None:
    family, x = case
    (path,) = [p for p in ("image", "x", "pos") if p in x]
    x = {**x, path: x[path].to(torch.bfloat16).float()}
    rounded = {**x, path: x[path].to(dtype)}
    out, expected = moved(family, rounded)[path], moved(family, x)[path]
    assert out.dtype == dtype
    # a value at a threshold of solarize, posterize or equalize may fall on either side of it
    close = torch.isclose(out.float(), expected, atol=3e-2, rtol=3e-2)
    assert float(close.float().mean()) > 0.97


def test_channels_last_changes_nothing() -> None:
    x = images()
    last = {**x, "image": x["image"].contiguous(memory_format=torch.channels_last)}
    for make, data in CASES.values():
        if data is images:
            family = make()
            assert_same(moved(family, last), moved(family, x), 1e-5)


def test_autocast_changes_nothing(case: tuple[Family, dict[str, Any]]) -> None:
    family, x = case
    expected = moved(family, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(moved(family, x), expected)


def test_tensor_subclasses_survive() -> None:
    for name in ("brightness", "rotate", "randaugment"):
        for normalised in ({}, {"mean": 0.5, "std": 0.5}):
            x = tv_tensors.Image(images()["image"])
            assert type(moved(by_name(name, **normalised), {"x": x})["x"]) is tv_tensors.Image


# ------------------------------------------------------------------------------------------------- the values of images


def by_loop(name: str, strengths: Tensor, pixels: Tensor) -> Tensor:
    """Ask torchvision image by image."""
    one = {
        "brightness": tv.adjust_brightness,
        "contrast": tv.adjust_contrast,
        "color": tv.adjust_saturation,
        "sharpness": tv.adjust_sharpness,
        "posterize": lambda image, bits: tv.posterize(image, int(bits)) if bits < 8 else image,
        "solarize": lambda image, threshold: tv.solarize(image, threshold) if threshold <= 1 else image,
        "autocontrast": lambda image, _: tv.autocontrast(image),
        "equalize": lambda image, _: tv.equalize(image),
        "invert": lambda image, _: tv.invert(image),
    }[name]
    return torch.stack([one(image, float(s)) for s, image in zip(strengths, pixels, strict=True)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("space", ["standard", "wide"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_image_is_changed_as_torchvision_changes_it_alone(name: str, space: str, channels: int) -> None:
    x = images(29, channels)["image"]
    family = Photometric(name, space)
    strengths = family.strength(torch.arange(1, 30))
    torch.testing.assert_close(family.move(strengths, x), by_loop(name, strengths, x), atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        *((name, 1.0) for name in ("brightness", "contrast", "color", "sharpness")),
        ("solarize", 256 / 255),
        ("posterize", 8),
    ],
)
def test_the_strength_that_does_nothing_does_nothing(name: str, identity: float) -> None:
    x = images()["image"]
    torch.testing.assert_close(Photometric(name).move(torch.full((ROWS,), identity), x), x, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "space", "weakest", "strongest"),
    [
        ("contrast", "standard", 0.1 + 1.8 / 29, 1.9),
        ("contrast", "wide", 0.01 + 1.99 / 29, 2.0),
        ("posterize", "standard", 8, 4),
        ("posterize", "wide", 8, 2),
        ("solarize", "standard", 248 / 255, 0.0),
        ("equalize", "wide", 1, 1),
    ],
)
def test_strengths_span_the_published_range(name: str, space: str, weakest: float, strongest: float) -> None:
    ends = Photometric(name, space).strength(torch.tensor([1, 29]))
    torch.testing.assert_close(ends, torch.tensor([weakest, strongest], dtype=torch.float32))


def test_all_published_strengths_are_equally_likely() -> None:
    family = Photometric("brightness", "wide")
    drawn = family.draw(torch.zeros(29000, 1, 1, 1), Rng(0))
    values, counts = drawn.unique(return_counts=True)
    torch.testing.assert_close(values, family.strength(torch.arange(1, 30)))
    assert 850 < int(counts.min()) and int(counts.max()) < 1150  # 1000 +- 5 standard deviations


def test_torchvision_is_called_once_whatever_the_strengths(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for kernel in ("adjust_brightness", "adjust_contrast", "adjust_saturation", "adjust_sharpness", "invert"):
        original = getattr(photometric.tv, kernel)
        monkeypatch.setattr(photometric.tv, kernel, lambda *a, f=original: calls.append(f) or f(*a))
    for name in ("brightness", "contrast", "color", "sharpness", "solarize"):
        moved(Photometric(name), images(64))
    assert len(calls) == 5 and len(set(calls)) == 5


def test_colour_leaves_grey_images_alone() -> None:
    x = images(channels=1)["image"]
    torch.testing.assert_close(moved(Photometric("color"), x), x, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [*OPERATIONS, *GEOMETRIC])
def test_normalisation_is_undone_and_redone(name: str) -> None:
    pixels, mean, std = images()["image"], (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)

    def normalise(v: Tensor) -> Tensor:
        return (v - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    plain, informed = operation(name), operation(name, mean=mean, std=std)
    moves = plain.draw(pixels, Rng(0))
    out = informed.move(moves, normalise(pixels))
    close = torch.isclose(out, normalise(plain.move(moves, pixels)), atol=1e-4)
    # rounding carries single values over a threshold
    assert float(close.float().mean()) > 0.99


@pytest.mark.parametrize("values", [images()["image"] * 255, images()["image"] - 0.5, torch.zeros(4, 2, 8, 8)])
def test_images_that_are_no_images_are_refused(values: Tensor) -> None:
    for name in ("brightness", "randaugment"):
        with pytest.raises(ActionMismatch, match="mean="):
            by_name(name).draw(values, Rng(0))


def test_whole_numbers_and_doubtful_inputs_are_refused() -> None:
    family = Photometric("contrast")
    with pytest.raises(AmbiguousPath, match="uint8"):
        family.draw({"x": (images()["image"] * 255).byte()}, Rng(0))
    two = {"left": images()["image"], "right": images()["image"]}
    with pytest.raises(AmbiguousPath, match="path="):
        family.draw(two, Rng(0))
    out = moved(Photometric("invert", path="right"), two)
    assert out["left"] is two["left"] and torch.equal(out["right"], 1 - two["right"])


def test_senseless_settings_are_refused() -> None:
    with pytest.raises(UnknownName, match="brightness"):
        Photometric("bright")
    with pytest.raises(InvalidSetting, match="standard, wide"):
        operation("rotate", "huge")
    with pytest.raises(InvalidSetting, match="std"):
        Photometric("contrast", std=0.0)
    with pytest.raises(DimensionMismatch, match="2 means"):
        Photometric("contrast", mean=(0.1, 0.2)).draw(images(), Rng(0))
    with pytest.raises(InvalidSetting, match="families"):
        Mixture([])
    with pytest.raises(InvalidSetting, match="weight"):
        Mixture(["invert", "equalize"], weights=[1, 0])
    with pytest.raises(InvalidSetting, match="slash"):
        Geometric("SO(2) on image -> label", name="a/b")


# ------------------------------------------------------------------------------------------------- groups


def test_a_law_of_given_width_replaces_the_symmetrys_own() -> None:
    x = torch.ones(4000, 2)
    angles = Geometric("SO(2) on vector(2) -> label", width=0.5).draw(x, Rng(0)).coordinates
    assert 0.49 < float(angles.abs().max()) <= 0.5 and abs(float(angles.mean())) < 0.02
    own = Geometric(
        Symmetry(Normal(Symmetry.parse("SO(2) on vector -> label").group, 0.1, learnable=False), "vector(2)", "label")
    )
    assert float(own.draw(x, Rng(0)).coordinates.std()) == pytest.approx(0.1, rel=0.05)


def test_answers_that_turn_with_the_input_are_turned_back() -> None:
    def f(x: Tensor) -> Tensor:
        return x * x.norm(dim=1, keepdim=True)

    x = vectors()["x"]
    turns = Geometric("SO(2) on vector(2) -> vector(2)", width=3.0)
    for family in (turns, Mixture([turns, Geometric("SO(2) on vector(2) -> vector(2)", width=0.1)])):
        family.bind(x, f(x))
        assert family.moves_output
        moves = family.draw(x, Rng(0))
        out = f(family.move(moves, x))
        assert not torch.allclose(out, f(x), atol=1e-2)
        torch.testing.assert_close(family.back(moves, out, Rows.of(x)), f(x), atol=1e-5, rtol=1e-5)


def test_answers_that_should_stay_are_passed_on() -> None:
    x = images()
    for name in ("rotate", "randaugment", "contrast"):
        family = by_name(name)
        y = torch.ones(ROWS, 10)
        assert not family.moves_output
        assert family.back(family.draw(x, Rng(0)), y, Rows.of(x)) is y


def test_only_some_families_of_a_mixture_may_move_the_answer() -> None:
    x = images(size=8)
    mixture = Mixture(["C4 on image -> same", "brightness"])
    y = x["image"].flip(1)
    mixture.bind(x, y)
    moves = mixture.draw(x, Rng(0))
    back = mixture.back(moves, mixture.move(moves, x)["image"].flip(1), Rows.of(x))
    turned = moves.chosen == 0
    assert 0 < int(turned.sum()) < ROWS
    torch.testing.assert_close(back[turned], y[turned], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(back[~turned], mixture.members[1].move(moves.parts[1], y)[~turned])


@pytest.mark.parametrize("space", ["standard", "wide"])
def test_operations_on_places_stay_in_the_published_range(space: str) -> None:
    wide = space == "wide"
    x = torch.zeros(4000, 1, 32, 32)
    entries = {"rotate": None, "shear_x": (0, 1), "shear_y": (1, 0)}
    reach = {"shear_x": (0.3, 0.99), "shear_y": (0.3, 0.99), "rotate": (torch.pi / 6, torch.pi * 0.75)}
    for name, entry in entries.items():
        g = operation(name, space).draw(x, Rng(0))
        size = torch.atan2(g.linear[:, 1, 0], g.linear[:, 0, 0]) if entry is None else g.linear[:, entry[0], entry[1]]
        for end in (size.min(), size.max()):
            assert abs(float(end)) == pytest.approx(reach[name][wide], rel=1e-5)
        assert len(size.mul(1e4).round().unique()) == 59
    for axis, name in enumerate(("translate_x", "translate_y")):
        offset = operation(name, space).draw(x, Rng(0)).offset
        pixels = offset * 16
        assert float(pixels[:, axis].abs().max()) == pytest.approx((10, 32)[wide], rel=1e-5)
        assert not pixels[:, 1 - axis].any()


def test_what_comes_from_outside_of_a_normalised_image_is_black() -> None:
    white = torch.ones(4, 3, 32, 32)
    family = operation("translate_x", "wide", mean=(0.1, 0.2, 0.3), std=0.5)
    out = moved(family, (white - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / 0.5)
    lowest = out.amin((0, 2, 3))
    torch.testing.assert_close(lowest, -torch.tensor([0.1, 0.2, 0.3]) / 0.5, atol=1e-5, rtol=1e-5)


def test_what_is_to_be_learnt_is_refused() -> None:
    for sentence in ("image -> label", "learned(2) on vector -> same"):
        with pytest.raises(InvalidSetting, match="to be learnt"):
            by_name(sentence)


# ------------------------------------------------------------------------------------------------- mixtures


def test_randaugment_draws_thirteen_operations_equally_often() -> None:
    mixture = randaugment("wide")
    moves = mixture.draw(torch.zeros(13000, 1, 2, 2), Rng(0))
    counts = torch.bincount(moves.chosen, minlength=13)
    assert len(counts) == 13 and 850 < int(counts.min()) and int(counts.max()) < 1150
    assert sorted(family.name for family in mixture.members) == sorted({*OPERATIONS, *GEOMETRIC} - {"invert"})


def test_weights_say_how_often_a_family_is_drawn() -> None:
    moves = Mixture(["invert", "equalize"], weights=[3, 1]).draw(torch.zeros(10000, 1, 2, 2), Rng(0))
    assert float((moves.chosen == 0).float().mean()) == pytest.approx(0.75, abs=0.02)


def test_a_mixture_does_to_a_sample_what_its_family_would_do() -> None:
    x = images(60)
    mixture = randaugment()
    moves = mixture.draw(x, Rng(0))
    out = mixture.move(moves, x)["image"]
    for row in range(60):
        family, part = mixture.members[moves.chosen[row]], moves.parts[moves.chosen[row]]
        alone = {"image": x["image"][row : row + 1]}
        expected = family.move(part[torch.tensor([row])], alone)["image"]
        torch.testing.assert_close(out[row : row + 1], expected, atol=1e-5, rtol=1e-5)


# ------------------------------------------------------------------------------------------------- names


def test_families_are_read_from_everything_that_states_one(tmp_path: Any) -> None:
    rotations = Symmetry.parse("SO(2) on image -> label", name="turns")
    saved = rotations.bind(images()["image"]).save(tmp_path / "turns")
    law = {"name": "uniform", "width": 3.0}
    stated = {
        "turns": [rotations, str(saved), saved.parent, {"symmetry": "SO(2) on image -> label", "name": "turns"}],
        "so_2_on_image_to_label": [
            "SO(2) on image -> label",
            {"over": "SO(2)", "input": "image", "output": "label", "law": law},
        ],
        "shear_x": ["shear_x", "Shear_X(space='wide')", {"name": "shear_x", "space": "wide"}],
        "brightness": ["brightness", {"name": "brightness", "mean": 0.5, "std": 0.5}, Photometric("brightness")],
        "randaugment": ["randaugment('wide')", {"name": "randaugment", "path": "image"}],
        "mixture": [{"name": "mixture", "families": ["invert", "SO(2) on image -> label"], "weights": [1, 2]}],
    }
    for name, descriptions in stated.items():
        for description in descriptions:
            family = by_name(description)
            assert family.name == name
            moved(family, {"image": images()["image"]} if name != "brightness" else images())


def test_what_cannot_be_read_is_told() -> None:
    with pytest.raises(UnknownName, match="brightness"):
        by_name("brightnes")
    with pytest.raises(SentenceError, match="colour"):
        by_name({"symmetry": "SO(2) on image -> label", "colour": 1})
    with pytest.raises(SentenceError, match="size"):
        by_name("brightness(size=2)")
    with pytest.raises(SentenceError):
        by_name({"width": 1.0})
    with pytest.raises(InvalidSetting, match="int"):
        by_name(3)
