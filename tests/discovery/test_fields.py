"""Polynomial fields: what they learn, how they read, and the report on them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_symmetry.discovery import Discovery, assemble
from lightning_symmetry.discovery.naming import name_field
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.spans import canonical_fields
from lightning_symmetry.groups import SO, Group, Learned, PolynomialField, Scale
from lightning_symmetry.losses import Call, Equivariance, NormReward
from lightning_symmetry.report import draw_discovery
from lightning_symmetry.symmetry import Symmetry

TURN = torch.tensor([[0.0, -1.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stretched(p: Tensor) -> Tensor:
    """Commutes with rotations only: a field times a function of the radius would have a higher degree."""
    return p * p.norm(dim=-1, keepdim=True)


def learn(group: Group, steps: int) -> Symmetry:
    symmetry, losses = Symmetry(group, "points", "points"), (Equivariance(), NormReward())
    x = normal(1024, 2)
    symmetry.bind(x, stretched(x))
    optimizer = torch.optim.Adam(symmetry.parameters(), 0.02)
    for step in range(steps):
        rows = x[step * 64 % 1024 :][:64]
        rng = Rng(0, step)
        g, weights = symmetry.sample(rows, 1, rng)
        call = Call(stretched, rows, stretched(rows), g, weights, symmetry, rng, step)
        error, reward = (loss(call).mean() for loss in losses)
        optimizer.zero_grad()
        (error + 0.5 * reward).backward()
        optimizer.step()
    return symmetry


@pytest.mark.slow
def test_rotation_is_found_among_quadratic_fields(tmp_path: Path) -> None:
    symmetry = learn(PolynomialField(2, count=1, seed=1), 400)
    found = assemble(stretched, normal(256, 2, seed=1), symmetry, truth=SO(2))
    assert found.verdict == "symmetric" and found.canonical_names == ("rotation",)
    torch.testing.assert_close(found.canonical[0].float(), TURN, atol=0.05, rtol=0)
    assert found.cosine is not None and found.cosine > 0.995 and found.closure is None
    assert any("brackets" in note for note in found.notes)
    loaded = Discovery.load(found.save(tmp_path))
    assert loaded.generators == found.generators and torch.equal(loaded.canonical, found.canonical)
    t, p = torch.tensor([[0.7]]), normal(1, 5, 2)
    torch.testing.assert_close(loaded.symmetry.group.exp(t)(p), found.symmetry.group.exp(t)(p))
    torch.testing.assert_close(loaded.symmetry.group.exp(t)(p), SO(2).exp(t)(p), atol=0.1, rtol=0)


def planted(extra: float = 0.0) -> Symmetry:
    """Two quadratic fields to be learnt: a rotation as training leaves it, and a spare."""
    symmetry = Symmetry.parse("polynomial_field(2, count=2) on points -> points")
    x = normal(8, 2)
    symmetry.bind(x, stretched(x))
    weight = symmetry.group.weight
    with torch.no_grad():
        weight.copy_(torch.stack((1.6 * TURN + extra * normal(2, 6), 0.05 * normal(2, 6, seed=1))))  # type: ignore[union-attr]
    return symmetry


def test_learnt_fields_are_judged_named_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    x = normal(128, 2)
    found = assemble(stretched, x, planted(extra=0.003), truth=Symmetry.parse("SO(2) on points -> points"))
    assert [g.verdict for g in found.generators] == ["accepted", "spare"]
    assert found.canonical_names == ("rotation",) and found.canonical.shape == (1, 2, 6)
    assert found.symmetry.group.count == 1 and not found.symmetry.learnable
    draw_discovery(found, x).savefig(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 10_000


def test_fields_are_compared_with_fields_and_refuse_what_they_cannot_hold() -> None:
    x, field = normal(64, 2), Symmetry.parse("polynomial_field(2) on points -> points")
    field.bind(x, stretched(x))
    assert assemble(stretched, x, planted(), truth=planted().group.fix(TURN[None])).cosine == pytest.approx(1)
    linear = Symmetry.parse("learned(1) on points -> points").bind(x, stretched(x))
    found = assemble(stretched, x, linear, truth=field)
    assert found.cosine is None and any("no group of this kind" in note for note in found.notes)


def test_given_generators_beside_learnt_ones_are_judged_without_their_norm() -> None:
    x = normal(128, 2)
    symmetry = Symmetry(Learned(count=1, affine=False) * Scale(), "points", "points").bind(x, stretched(x))
    with torch.no_grad():
        symmetry.group.factors[0].weight.copy_(1.6 * SO(2).basis())  # type: ignore[union-attr]
    # the norm of a scaling, sqrt(2), would be large enough; its violation decides
    found = assemble(stretched, x, symmetry)
    assert [g.verdict for g in found.generators] == ["accepted", "violated"]


@pytest.mark.parametrize("axis", ["x", "y"])
def test_an_affine_field_has_the_name_of_its_generator(axis: str) -> None:
    numbers = torch.zeros(2, 6)
    numbers["xy".index(axis), 2] = -3.0
    assert name_field(numbers + 0.01 * normal(2, 6)).name == f"translation along {axis}"


def test_a_field_reads_as_its_formula() -> None:
    numbers = torch.zeros(2, 6)
    numbers[0, 3], numbers[1, 4], numbers[1, 0] = -4.0, 2.0, 0.1
    naming = name_field(numbers)
    assert naming.name == "-x^2 d/dx + 0.5 x y d/dy" and 0.99 < naming.cosine < 1
    assert name_field(torch.zeros(2, 6)).name == "nothing"
    assert name_field(normal(3, 10)).name.endswith("...")


def test_the_canonical_fields_depend_on_the_span_alone() -> None:
    boost = torch.zeros(2, 6)
    boost[0, 3], boost[1, 4] = -1.0, -1.0
    fields = torch.stack((TURN, boost))
    mixed = [torch.tensordot(torch.linalg.qr(normal(2, 2, seed=seed))[0], fields, 1) for seed in range(3)]
    for a in mixed:
        found = canonical_fields(7 * a)
        torch.testing.assert_close(found[0], TURN, atol=1e-5, rtol=0)
        torch.testing.assert_close(found[1], -boost, atol=1e-5, rtol=0)
