"""The sentence, the paths it finds, and what it saves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from torch import Tensor

from lightning_symmetry.actions import Action
from lightning_symmetry.callbacks import LearnableAugmentation
from lightning_symmetry.exceptions import (
    ActionMismatch,
    AmbiguousPath,
    AxiomViolation,
    DimensionMismatch,
    InvalidFile,
    InvalidSetting,
    SentenceError,
    UnknownName,
)
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO, AffineMap, Element, Group, Learned
from lightning_symmetry.samplers import Normal, OneHot, Uniform
from lightning_symmetry.sentence import read_sentence
from lightning_symmetry.symmetry import Symmetry


class Graph(NamedTuple):
    pos: Tensor
    charge: Tensor
    name: str


def turn(angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]])


@pytest.mark.parametrize(
    "sentence",
    [
        "SO(2) on image -> label",
        "D4 on image -> label",
        "affine on image -> image",
        "learned(3) on vector(2) -> vector(2)",
        "learned(2, blocks=[2, 2]) on vector -> learned",
        "SE(3) on pos=points, z=scalar -> energy=scalar, forces=vector",
    ],
)
def test_a_sentence_reads_back_as_itself(sentence: str) -> None:
    once = Symmetry.parse(sentence).sentence
    assert Symmetry.parse(once).sentence == once


def test_same_repeats_the_inputs_action() -> None:
    assert Symmetry.parse("SO(2) on vector(2) -> same").output.sentence == "vector(2)"


def test_without_a_group_one_is_learnt() -> None:
    symmetry = Symmetry.parse("image -> label")
    assert isinstance(symmetry.group, Learned) and isinstance(symmetry.sampler, OneHot) and symmetry.learnable


@pytest.mark.parametrize(
    ("sentence", "error"),
    [
        ("image", SentenceError),
        ("image -> label -> mask", SentenceError),
        ("SO(2) on image - label", SentenceError),
        ("im age -> label", SentenceError),
        ("SO(2 on image -> label", SentenceError),
        ("SQ(2) on image -> label", UnknownName),
        ("SO(2) on imag -> label", UnknownName),
    ],
)
def test_an_unreadable_sentence_says_what_was_expected(sentence: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"got .*expected "):
        Symmetry.parse(sentence)


def test_commas_inside_brackets_do_not_split() -> None:
    assert read_sentence("vector(2), b=learned(3, scale=0.1) -> label")[1] == [
        (None, "vector(2)"),
        ("b", "learned(3, scale=0.1)"),
    ]


def test_the_only_fitting_tensor_is_found() -> None:
    symmetry = Symmetry.parse("SO(2) on image -> label")
    symmetry.bind({"x": torch.zeros(3, 1, 5, 5), "y": torch.zeros(3, 2), "n": torch.zeros(3, dtype=torch.long)})
    assert symmetry.input.paths == ["x"]


def test_ambiguity_is_refused_with_the_paths_that_exist() -> None:
    with pytest.raises(AmbiguousPath, match="2 tensors.*a: float32.*b: float32.*a=vector"):
        Symmetry.parse("SO(2) on vector -> label").bind({"a": torch.zeros(3, 2), "b": torch.zeros(3, 2)})


def test_a_wrong_path_lists_what_exists() -> None:
    with pytest.raises(AmbiguousPath, match="'positions'.*pos: float32"):
        Symmetry.parse("SO(2) on positions=vector -> label").bind({"pos": torch.zeros(3, 2)})


def test_named_parts_move_and_the_rest_stays() -> None:
    symmetry = Symmetry.parse("SO(2) on graph.pos=points, graph.charge=scalar -> label")
    graph = Graph(torch.randn(2, 4, 2), torch.randn(2, 4), "methane")
    moved = symmetry.move_input(turn(0.3).repeat(2, 1, 1), {"graph": graph})["graph"]
    assert isinstance(moved, Graph) and moved.name == "methane" and moved.charge is graph.charge
    torch.testing.assert_close(moved.pos, torch.stack([p @ turn(0.3).T for p in graph.pos]))


def test_integers_are_refused_politely() -> None:
    with pytest.raises(ActionMismatch, match="int64"):
        Symmetry.parse("SO(2) on image -> label").bind({"x": torch.zeros(2, 1, 4, 4, dtype=torch.long)})


def test_a_group_of_another_dimension_is_refused() -> None:
    with pytest.raises(DimensionMismatch):
        Symmetry.parse("SO(3) on points -> label").bind(torch.zeros(2, 5, 2))


def test_an_input_on_which_nothing_moves_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="nothing moves"):
        Symmetry.parse("SO(2) on scalar -> label").bind(torch.zeros(2, 2))


def test_the_group_follows_the_precision_of_the_data() -> None:
    symmetry = Symmetry.parse("vector -> label").bind(torch.zeros(2, 3, dtype=torch.float64))
    assert symmetry.group.basis().dtype == torch.float64
    half = Symmetry.parse("vector -> label").bind(torch.zeros(2, 3, dtype=torch.float16))
    assert half.group.basis().dtype == torch.float32


def test_axioms_hold_for_a_group_and_fail_for_a_wrong_action() -> None:
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    Symmetry.parse("SO(2) on vector -> label").check(x)
    wrong = Symmetry.parse("SO(2) on vector -> label").bind(x)
    original = wrong.input.actions[0].act
    wrong.input.actions[0].act = lambda g, v: original(g, v) + 1  # type: ignore[method-assign]
    with pytest.raises(AxiomViolation, match="identity"):
        wrong.check(x)


@pytest.mark.parametrize(
    "symmetry",
    [
        lambda: Symmetry.parse("SO(2) on vector(2) -> vector(2)"),
        lambda: Symmetry.parse("learned(3) on vector(2) -> vector(2)"),
        lambda: Symmetry(Normal(SO(2), width=0.5), "vector(2)", "scalar", name="narrow"),
        lambda: Symmetry(Uniform(Learned(count=2)), "vector(2)", "learned"),
    ],
)
def test_a_saved_symmetry_moves_data_as_before(symmetry, tmp_path) -> None:
    before = symmetry()
    x, y = torch.randn(5, 4), torch.randn(5, 2)
    before.bind(x, y)
    before.save(tmp_path)
    after = Symmetry.of(str(tmp_path)).bind(x, y)
    assert after.name == before.name and not any(p.suffix in (".pt", ".pkl") for p in tmp_path.iterdir())
    for law in (before, after):
        law.g, _ = law.sample(x, 1, Rng(3))
    torch.testing.assert_close(after.move_input(after.g, x), before.move_input(before.g, x))
    torch.testing.assert_close(after.move_output(after.g, y), before.move_output(before.g, y))


@pytest.mark.parametrize("damage", ["truncate", "garbage", "pickle", "missing", "tensors"])
def test_a_damaged_file_is_one_sentence(damage: str, tmp_path) -> None:
    symmetry = Symmetry.parse("learned(1) on vector -> label").bind(torch.zeros(2, 3))
    file = symmetry.save(tmp_path)
    if damage == "truncate":
        file.write_text(file.read_text()[:30])
    elif damage == "garbage":
        file.write_text("{[}")
    elif damage == "pickle":
        torch.save({"a": 1}, file)
    elif damage == "missing":
        file.unlink()
    else:
        tensors = file.with_suffix(".safetensors")
        tensors.write_bytes(tensors.read_bytes()[:20])
    with pytest.raises(InvalidFile, match="got .*expected "):
        Symmetry.load(tmp_path)


def test_an_unbound_learnt_group_cannot_be_saved(tmp_path) -> None:
    with pytest.raises(InvalidSetting, match="dimension"):
        Symmetry.parse("vector -> label").save(tmp_path)


# ---------------------------------------------------------------- axioms of every kind


class Skewed(Action):
    """Wrong for finite groups only: what should come back after four turns does not."""

    affine = True

    sentence = "skewed"

    def base_dim(self, x: Tensor) -> int:
        return 2

    def _move(self, g: Element, x: Tensor) -> Tensor:
        return g.push(x.unsqueeze(1)).squeeze(1) * g.linear[:, :1, 0].abs().clamp_min(0.5)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 0, 2)


@pytest.mark.parametrize(
    ("sentence", "x"),
    [
        ("C4 on vector -> label", torch.randn(5, 2)),
        ("D6 on points -> label", torch.randn(5, 7, 2)),
        ("O(3) on points -> label", torch.randn(5, 7, 3)),
        ("E(2) on pos=points, vel=vector -> label", {"pos": torch.randn(5, 2), "vel": torch.randn(5, 2)}),
        ("permutations on points -> label", torch.randn(5, 4, 3)),
        ("permutations on points -> label", torch.randn(5, 40, 3)),  # too many to list
        ("D4 on image -> label", torch.randn(5, 3, 8, 8)),
        ("C3 on image -> label", torch.randn(5, 3, 8, 8)),  # thirds of turns do not permute pixels
        ("affine on image -> label", torch.randn(5, 3, 8, 8)),
        ("D4 on x=image, m=mask -> label", {"x": torch.randn(5, 3, 8, 8), "m": torch.ones(5, 8, 8).long()}),
        ("SO(3) * permutations on pos=points, z=nodes -> label", {"pos": torch.randn(5, 4, 3), "z": torch.ones(5, 4)}),
    ],
)
def test_axioms_hold_for_every_kind(sentence: str, x: Any) -> None:
    Symmetry.parse(sentence).check(x)


def test_a_wrong_action_of_a_finite_group_is_caught() -> None:
    with pytest.raises(AxiomViolation, match="inverse|composition"):
        Symmetry("C4", Skewed(), "label").check(torch.randn(5, 2))


def test_a_finite_part_that_is_no_group_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    symmetry = Symmetry.parse("C4 on image -> label")
    eighth = AffineMap(turn(math.pi / 4)[None].repeat(4, 1, 1))
    monkeypatch.setattr(type(symmetry.group), "discrete", property(lambda self: eighth))
    with pytest.raises(AxiomViolation, match=r"order \(4\)"):
        symmetry.check(torch.randn(5, 3, 8, 8))


# ---------------------------------------------------------------- as YAML and back


@pytest.mark.parametrize(
    "sentence",
    [
        "SO(2) on image -> label",
        "SE(3) on batch.pos=points, batch.z=scalar -> energy=scalar, forces=vector",
        "learned(2) on pos=points, scalar -> vector(3)",
        "D4 on auto -> auto",
    ],
)
@pytest.mark.parametrize("way", ["file", "folder", "path", "mapping"])
def test_yaml_reads_back_as_itself(sentence: str, way: str, tmp_path: Path) -> None:
    before = Symmetry.parse(sentence, name="mine")
    text = before.to_yaml()
    file = tmp_path / ("symmetry.yaml" if way == "folder" else "my.yml")
    file.write_text(text)
    description = {"file": str(file), "folder": str(tmp_path), "path": file, "mapping": yaml.safe_load(text)}[way]
    after = Symmetry.of(description)
    assert (after.sentence, after.name) == (before.sentence, "mine")
    assert after.to_yaml() == text and type(after.sampler) is type(before.sampler)


def test_yaml_is_short_and_names_what_was_found() -> None:
    symmetry = Symmetry.parse("SO(3) on auto -> forces=vector", name="f").bind(
        {"pos": torch.randn(4, 3), "z": torch.ones(4).long()}
    )
    assert yaml.safe_load(symmetry.to_yaml()) == {
        "name": "f",
        "over": "SO(3)",
        "input": {"pos": "points", "z": "scalar"},
        "output": {"forces": "vector"},
    }


def test_yaml_keeps_a_law_that_is_not_the_usual_one() -> None:
    symmetry = Symmetry(Normal(SO(2), width=0.5), "vector", "label", name="narrow")
    after = Symmetry.of(yaml.safe_load(symmetry.to_yaml()))
    assert isinstance(after.sampler, Normal) and after.sampler.width == 0.5 and "law" in symmetry.to_yaml()


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("inptu: image\noutput: label", InvalidSetting, "inptu.*Did you mean input"),
        ("over: SO(2)\ninput: image", InvalidSetting, "expected input and output"),
        ("over: SQ(2)\ninput: image\noutput: label", UnknownName, "SQ"),
        ("over: SO(2)\ninput: imag\noutput: label", UnknownName, "Did you mean image"),
        ("over: SO(2)\ninput: {x: 3}\noutput: label", SentenceError, "3 for 'x'"),
        ("over: SO(2)\ninput:\noutput: label", SentenceError, "None for a side"),
        ("- image\n- label", InvalidFile, "no mapping"),
        ("over: [", InvalidFile, "line 1"),
    ],
)
def test_a_mistake_in_a_yaml_file_is_one_sentence(
    text: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    with pytest.raises(error, match=words):
        Symmetry.of(str(file))


@pytest.mark.parametrize(("path", "words"), [("x", "vector"), ("z", "scalar")])
def test_a_path_that_does_not_exist_is_one_sentence(path: str, words: str) -> None:
    described = {"over": "SO(2)", "input": {"pos": "vector", path: words}, "output": "label"}
    with pytest.raises(AmbiguousPath, match=f"the path '{path}'.*pos: float32"):
        Symmetry.of(described).bind({"pos": torch.zeros(3, 2)})


def test_a_missing_argument_is_no_tensor_to_move() -> None:
    with pytest.raises(ActionMismatch, match="None at 'v'"):
        Symmetry.parse("SO(2) on x=vector, v=vector -> label").bind({"x": torch.zeros(3, 2), "v": None})


def test_hydras_containers_are_mappings_and_lists() -> None:
    omegaconf = pytest.importorskip("omegaconf")
    described = omegaconf.OmegaConf.create(
        {
            "over": "SO(2)",
            "law": {"name": "Normal", "width": 0.5},
            "input": {"batch.pos": "points", "vel": "vector"},
            "output": ["energy=scalar", "forces=vector"],
        }
    )
    symmetry = Symmetry.of(described)
    assert symmetry.sentence == "SO(2) on batch.pos=points, vel=vector -> energy=scalar, forces=vector"
    assert isinstance(symmetry.sampler, Normal)
    listed = LearnableAugmentation(omegaconf.OmegaConf.create(["image -> label", described]))
    assert [s.sentence for s in listed.symmetries] == ["learned on image -> label", symmetry.sentence]


# ---------------------------------------------------------------- several parts at once


def test_parts_move_together() -> None:
    x = {
        "pos": torch.randn(3, 4, 2),
        "vel": torch.randn(3, 4, 2),
        "z": torch.arange(12).reshape(3, 4),
        "a.b": {"c": torch.randn(3, 2)},
    }
    symmetry = Symmetry.parse("permutations on pos=points, vel=vector, z=nodes, a.b.c=scalar -> label")
    g, _ = symmetry.sample(x, 1, Rng(0))
    moved = symmetry.move_input(g, x)
    for key in ("pos", "vel", "z"):
        expected = torch.stack([leaf[order] for leaf, order in zip(x[key], g.order, strict=True)])
        assert torch.equal(moved[key], expected)
    assert moved["a.b"] is x["a.b"]
    dotted = Symmetry.parse("SO(2) on a.b.c=vector -> label")
    g, _ = dotted.sample(x, 1, Rng(0))
    torch.testing.assert_close(dotted.move_input(g, x)["a.b"]["c"], torch.einsum("bij,bj->bi", g.linear, x["a.b"]["c"]))


def test_one_symmetry_serves_maps_of_every_call_style(tmp_path: Path) -> None:
    """A path that was left out is found again where the structure is another, also after saving."""
    symmetry = Symmetry.parse("D4 on image -> label")
    x = Rng(0).normal(2, 1, 6, 6)
    g, _ = symmetry.sample({"input": x}, 1, Rng(1))
    expected = symmetry.move_input(g, {"input": x})["input"]
    assert torch.equal(symmetry.move_input(g, x), expected)
    assert torch.equal(symmetry.move_input(g, {"picture": x})["picture"], expected)
    loaded = Symmetry.load(symmetry.save(tmp_path))
    assert torch.equal(loaded.move_input(g, x), expected)
