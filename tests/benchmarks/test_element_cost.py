"""What the parts of a moved batch cost, as ratios to torch's own in the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.actions import Image
from lightning_symmetry.functional.expm import Structure, expm
from lightning_symmetry.groups import AffineMap
from tests.benchmarks.turns import Turns, stopwatch

Report = Callable[[str, Mapping[str, str]], None]
BATCH = 256


def skew(a: Tensor) -> Tensor:
    return a - a.mT


def without_last_row(a: Tensor) -> Tensor:
    return torch.cat((a[..., :-1, :], torch.zeros_like(a[..., -1:, :])), -2)


def rigid(a: Tensor) -> Tensor:
    turn = F.pad(skew(a[..., :-1, :-1]), (0, 1, 0, 1))
    return turn + F.pad(a[..., :-1, -1:], (a.shape[-1] - 1, 0, 0, 1))


KINDS: dict[str, tuple[Structure, int, Callable[[Tensor], Tensor]]] = {
    "2x2": ("general", 2, lambda a: a),
    "so(2)": ("skew", 2, skew),
    "so(3)": ("skew", 3, skew),
    "affine plane": ("affine", 3, without_last_row),
    "se(2)": ("rigid", 3, rigid),
    "se(3)": ("rigid", 4, rigid),
    "diagonal, 4x4": ("diagonal", 4, lambda a: torch.diag_embed(a.diagonal(dim1=-2, dim2=-1))),
}


def differentiated(function: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], Any]:
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    return lambda: torch.autograd.grad(function(*leaves).sum(), leaves)


@pytest.mark.parametrize("kind", KINDS)
def test_closed_forms_against_the_general_exponential(kind: str, benchmark: Any, report: Report) -> None:
    structure, size, project = KINDS[kind]
    a = project(torch.randn(BATCH, size, size, generator=torch.Generator().manual_seed(0)))
    turns = Turns(
        {
            "torch": stopwatch(lambda: torch.matrix_exp(a), 10),
            "torch, with gradient": stopwatch(differentiated(torch.matrix_exp, a), 10),
            "ours": stopwatch(lambda: expm(a, structure), 10),
            "ours, with gradient": stopwatch(differentiated(lambda a: expm(a, structure), a), 10),
        }
    )
    benchmark.pedantic(turns.round, rounds=30, warmup_rounds=2)
    _tell(benchmark, report, f"exponentials of {BATCH} matrices: closed form to torch.matrix_exp", kind, turns)


def test_image_against_affine_grid(benchmark: Any, report: Report) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, 32, 32, generator=generator)
    # a square image of [-1, 1]^2 is where the conventions of both agree; theta reads, so it is the inverse
    linear = torch.eye(2) + 0.2 * torch.randn(64, 2, 2, generator=generator)
    offset = 0.2 * torch.randn(64, 2, generator=generator)

    def library(linear: Tensor, offset: Tensor) -> Tensor:
        inverse = torch.linalg.inv(linear)
        theta = torch.cat((inverse, -inverse @ offset.unsqueeze(-1)), -1)
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)

    def own(linear: Tensor, offset: Tensor) -> Tensor:
        return Image().act(AffineMap(linear, offset), x)

    torch.testing.assert_close(own(linear, offset), library(linear, offset), atol=1e-3, rtol=1e-3)
    turns = Turns(
        {
            "torch": stopwatch(lambda: library(linear, offset), 5),
            "torch, with gradient": stopwatch(differentiated(library, linear, offset), 5),
            "ours": stopwatch(lambda: own(linear, offset), 5),
            "ours, with gradient": stopwatch(differentiated(own, linear, offset), 5),
        }
    )
    benchmark.pedantic(turns.round, rounds=20, warmup_rounds=2)
    _tell(benchmark, report, "moving 64 images: Image.act to affine_grid and grid_sample", "3x32x32", turns)


def _tell(benchmark: Any, report: Report, title: str, what: str, turns: Turns) -> None:
    row = {"": what}
    for short, suffix in (("forward", ""), ("and backward", ", with gradient")):
        ratio = turns.ratio("ours" + suffix, "torch" + suffix)
        benchmark.extra_info[short] = ratio
        times = (f"{1e3 * turns.median(name + suffix):.3f}" for name in ("torch", "ours"))
        row |= dict(
            zip((f"{short}: torch ms", f"{short}: ours ms", f"{short}: ratio"), (*times, f"{ratio:.2f}"), strict=True)
        )
    report(title, row)
