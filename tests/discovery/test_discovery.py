"""From a map and a group to a conclusion, and to a folder and back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_symmetry.discovery import Discovery, assemble
from lightning_symmetry.exceptions import InvalidFile, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO, Given, Scale
from lightning_symmetry.symmetry import Symmetry


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spatial(x: Tensor) -> Tensor:
    q, p = x[:, :3], x[:, 3:]
    return q.norm(dim=1, keepdim=True) * p + 0.5 * torch.linalg.cross(q, p)


def spatial_symmetry(x: Tensor, noise: float = 0.0) -> Symmetry:
    """Four learnt generators: a mixture of the three rotations, and a spare."""
    symmetry = Symmetry.parse("learned(4) on vector(3) -> vector(3)").bind(x, spatial(x))
    mixing = torch.linalg.qr(normal(3, 3))[0]
    with torch.no_grad():
        weight = symmetry.group.weight
        weight.mul_(0.1)  # type: ignore[union-attr]
        weight[:3] = 1.57 * torch.einsum("kl,lij->kij", mixing, SO(3).basis()) + noise * normal(3, 3, 3, seed=1)  # type: ignore[index]
    return symmetry


def discover_rotations(noise: float = 0.0) -> Discovery:
    x = normal(128, 6)
    symmetry = spatial_symmetry(x, noise)
    history = {"step": [0.0, 1.0], f"{symmetry.name}/norm_0": [0.3, 2.2], "other": [1.0, math.nan]}
    return assemble(spatial, x, symmetry, truth=Symmetry.parse("SO(3) on vector -> vector"), history=history)


def test_rotations_of_space_are_found_named_and_made_readable() -> None:
    found = discover_rotations(noise=0.002)
    assert found.verdict == "symmetric"
    assert [g.verdict for g in found.generators] == ["accepted"] * 3 + ["spare"]
    torch.testing.assert_close(found.canonical.float(), SO(3).basis(), atol=0.02, rtol=0)
    assert found.canonical_names == tuple(f"rotation about {axis}" for axis in "zyx")
    assert found.cosine is not None and found.cosine > 0.999
    assert found.closure is not None and found.closure < 0.05
    assert "3 of 4 generators hold" in found.conclusion
    assert found.history["norm_0"] == [0.3, 2.2]
    assert str(found).count("\n") >= 7 and "norm" in str(found)


def test_two_learnt_copies_of_one_direction_span_one() -> None:
    x = normal(64, 4)
    symmetry = Symmetry.parse("learned(2) on vector(2) -> scalar").bind(x)
    with torch.no_grad():
        turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        symmetry.group.weight.copy_(torch.stack([1.6 * turn, -1.5 * turn + 0.01]))  # type: ignore[union-attr]
    found = assemble(lambda x: x[:, :2].norm(dim=1), x, symmetry)
    assert found.canonical_names == ("rotation",)
    assert "2 of 2 generators hold and span 1 dimension;" in found.conclusion


def test_metrics_are_plain_numbers() -> None:
    metrics = discover_rotations().metrics()
    assert all(type(value) is float for value in metrics.values())
    assert metrics["symmetric"] == 1 and metrics["absent"] == metrics["undecided"] == 0 and metrics["accepted"] == 3
    assert {"cosine", "coverage", "norm_3", "violation_0", "random_violation", "closure"} <= set(metrics)


def test_the_found_symmetry_is_fixed_and_reaches_as_far_as_the_law_did() -> None:
    found = discover_rotations()
    assert not found.symmetry.learnable
    assert isinstance(found.symmetry.group, Given)
    torch.testing.assert_close(found.symmetry.sampler.widths, torch.full((3,), 1.57), atol=1e-3, rtol=0)
    x = normal(8, 6)
    g, _ = found.symmetry.sample(x, 1, Rng(0))
    moved = found.symmetry.move_input(g, x)
    torch.testing.assert_close(spatial(moved), found.symmetry.move_output(g, spatial(x)), atol=1e-4, rtol=1e-4)


def test_a_learned_representation_follows_the_canonical_basis() -> None:
    x = normal(64, 2)
    symmetry = Symmetry.parse("learned(2) on vector -> learned").bind(x, x)
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    with torch.no_grad():
        symmetry.group.weight.copy_(torch.stack([-2.0 * turn, 0.05 * torch.eye(2)]))  # type: ignore[union-attr]
        symmetry.output.moving[0][1].restore(torch.stack([2.0 * turn, 9 * torch.eye(2)]))  # type: ignore[operator]
    found = assemble(lambda x: x.flip(1), x, symmetry)
    assert found.verdict == "symmetric" and found.generators[0].random_violation is None
    torch.testing.assert_close(found.canonical[0].float(), turn)
    g = found.symmetry.group.exp(torch.full((64, 1), 0.4))
    moved = found.symmetry.move_input(g, x).flip(1)
    torch.testing.assert_close(moved, found.symmetry.move_output(g, x.flip(1)), atol=1e-5, rtol=1e-4)


def test_absence_and_indecision_are_said() -> None:
    x = normal(128, 4)

    def f(x: Tensor) -> Tensor:
        return torch.stack((torch.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2], torch.tanh(1.5 * x[:, 3])), 1)

    symmetry = Symmetry.parse("learned(2) on vector(2) -> vector(2)").bind(x, f(x))
    with torch.no_grad():
        symmetry.group.weight.mul_(0.1)  # type: ignore[union-attr]
    found = assemble(f, x, symmetry, held_out="training")
    assert found.verdict == "absent" and found.canonical.shape == (0, 2, 2) and found.cosine is None
    assert found.conclusion.startswith("absent") and "training inputs" in " ".join(found.notes)
    assert found.symmetry.group.count == 2
    with torch.no_grad():
        symmetry.group.weight[0].copy_(torch.tensor([[0.0, -2.0], [2.0, 0.0]]))  # type: ignore[index]
    assert assemble(f, x, symmetry).verdict == "undecided"


def test_known_groups_are_judged_without_a_cap() -> None:
    x = normal(64, 4)
    found = assemble(lambda x: x[:, :2].norm(dim=1), x, Symmetry.parse("SO(2) on vector(2) -> scalar"), truth=SO(2))
    assert found.verdict == "symmetric" and found.cap is None and found.cosine == pytest.approx(1.0)
    found = assemble(lambda x: x[:, :1], x, Symmetry.parse("SO(2) on vector(2) -> scalar"))
    assert found.verdict == "absent" and found.conclusion.startswith("absent: none of 1 generator holds")


def test_a_sector_of_data_is_reported_as_extrapolation() -> None:
    angle = 0.4 * torch.rand(200, generator=torch.Generator().manual_seed(0))
    x = torch.stack((angle.cos(), angle.sin()), 1)
    symmetry = Symmetry.parse("learned on vector -> scalar").bind(x)
    with torch.no_grad():
        symmetry.group.weight.copy_(torch.tensor([[[0.0, -3.0], [3.0, 0.0]]]))  # type: ignore[union-attr]
    found = assemble(lambda x: x.norm(dim=1) + 0.1 * x[:, 0], x, symmetry)
    assert found.coverage < 0.3
    assert "extrapolation" in " ".join(found.notes)


def test_truths_of_other_sizes_and_spaces() -> None:
    x = normal(64, 6)
    symmetry = spatial_symmetry(x)
    one = assemble(spatial, x, symmetry, truth=SO(3).basis()[:1])
    assert one.cosine == pytest.approx(1.0, abs=1e-5) and "dimension 3" in " ".join(one.notes)
    assert assemble(spatial, x, symmetry, truth=Scale(3)).cosine == pytest.approx(0.0, abs=1e-5)
    other = assemble(spatial, x, symmetry, truth=SO(2))
    assert other.cosine is None and "another space" in " ".join(other.notes)


def test_a_finite_group_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="no generators"):
        assemble(lambda x: x, normal(4, 2), Symmetry.parse("C4 on vector -> vector"))


def test_saving_and_loading_gives_the_same_discovery(tmp_path: Path) -> None:
    found = discover_rotations()
    assert found.save(tmp_path / "new" / "folder") == tmp_path / "new" / "folder"
    folder = tmp_path / "new" / "folder"
    assert sorted(p.name for p in folder.iterdir()) == ["report.json", "symmetry.safetensors", "symmetry.yaml"]
    back = Discovery.load(folder)
    assert str(back) == str(found) and back.generators == found.generators and back.metrics() == found.metrics()
    torch.testing.assert_close(back.canonical, found.canonical)
    torch.testing.assert_close(back.symmetry.group.basis(), found.symmetry.group.basis())
    assert back.history["other"][0] == 1.0 and math.isnan(back.history["other"][1])


def test_the_report_is_strict_sorted_json(tmp_path: Path) -> None:
    discover_rotations().save(tmp_path)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    document = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    assert list(document) == sorted(document)
    assert document["verdict"] == "symmetric" and len(document["generators"]) == 4


def test_broken_folders_are_explained(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile):
        Discovery.load(tmp_path)
    discover_rotations().save(tmp_path)
    (tmp_path / "report.json").write_text('{"format": 1}')
    with pytest.raises(InvalidFile):
        Discovery.load(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(InvalidFile):
        Discovery.load(tmp_path)
