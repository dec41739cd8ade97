"""The sentence, the paths it finds, and what it saves."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

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
from lightning_symmetry.groups import SO, Learned
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
