"""What reading generators out of a network costs, as ratios to plain restatements of published procedures."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.differentiation import differentiate
from lightning_symmetry.discovery import GeneratorGram, discover
from lightning_symmetry.hosts import Classifier
from lightning_symmetry.metrics import LieDerivativeError
from lightning_symmetry.symmetrization import input_tangents
from lightning_symmetry.symmetry import Symmetry
from tests.benchmarks.turns import Turns

Report = Callable[[str, Mapping[str, str]], None]

ROOT = Path(__file__).parents[2]
VECTORS = {5: "GL(5) on vector(5) -> scalar", 10: "GL(10) on vector -> scalar"}
IMAGES = "affine on image -> scalar"


def busy(work: Callable[[], Any]) -> Callable[[], float]:
    """Time a function by the processor: on a shared machine the clock tells of others."""

    def run() -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    return run


# ---------------------------------------------------------------- all generators of a net on vectors


def make_net() -> nn.Module:
    """LieGG's regression of two vectors of R^5, invariant to rotations of both."""

    def target(x: Tensor) -> Tensor:
        a, b = x[:, :5], x[:, 5:]
        return (a.norm(dim=1).sin() - b.norm(dim=1) ** 3 / 2 + F.cosine_similarity(a, b, dim=1)).unsqueeze(1)

    torch.manual_seed(0)
    sizes = [10, 128, 128, 128]
    layers = [part for a, b in zip(sizes, sizes[1:], strict=False) for part in (nn.Linear(a, b), nn.SiLU())]
    net = nn.Sequential(*layers, nn.Linear(128, 1))
    pool = draw(10000)
    labels = target(pool) / target(pool).std()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1800)
    for _ in range(1800):
        rows = torch.randint(10000, (500,))
        optimizer.zero_grad()
        F.mse_loss(net(pool[rows]), labels[rows]).backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def draw(samples: int) -> Tensor:
    return torch.randn(samples, 10, generator=torch.Generator().manual_seed(0))


def one_by_one(f: nn.Module, x: Tensor, dim: int) -> Tensor:
    """The matrix of all rows vec(sum_t grad_t x_t^T), one gradient after the other, and its singular vectors."""
    rows = []
    for sample in x:
        point = sample.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(f(point[None])[0, 0], point)
        rows.append((gradient.view(-1, dim).mT @ sample.view(-1, dim)).flatten())
    return torch.linalg.svd(torch.stack(rows), full_matrices=False).Vh


def at_once(f: nn.Module, x: Tensor, dim: int) -> Tensor:
    """The same matrix from one gradient of the summed answers."""
    points = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(f(points).sum(), points)
    matrix = (gradient.view(len(x), -1, dim).mT @ x.view(len(x), -1, dim)).flatten(1)
    return torch.linalg.svd(matrix, full_matrices=False).Vh


def streamed(f: nn.Module, x: Tensor, dim: int) -> Any:
    """The directions with intervals, normaliser, null, finite checks and names."""
    return discover(f, x, VECTORS[dim])


def sums_only(f: nn.Module, x: Tensor, dim: int) -> Any:
    """The directions with intervals."""
    gram = GeneratorGram(VECTORS[dim], null=False)
    with torch.no_grad():
        for part in x.split(512):
            gram.update(f, part)
    return gram.read()


READERS = {
    "full matrix, gradients one by one": one_by_one,
    "full matrix, gradients at once": at_once,
    "GeneratorGram, intervals": sums_only,
    "discover": streamed,
}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trained network is kept for other processes."""
    path = tmp_path_factory.mktemp("net") / "net.pt"
    torch.save(make_net(), path)
    return path


@pytest.mark.parametrize("samples", [1000, 10000, 100000])
@pytest.mark.parametrize("dim", VECTORS)
def test_reading_against_the_full_matrix(dim: int, samples: int, net: Path, benchmark: Any, report: Report) -> None:
    repeats, growth = max(1, 10000 // samples), {}

    def read(name: str) -> float:
        seconds, growth[name] = measure_apart(name, dim, samples, net, repeats)
        return seconds

    turns = Turns({name: partial(read, name) for name in READERS})
    benchmark.pedantic(turns.round, rounds=1)
    benchmark.extra_info.update(growth=growth)
    for name in READERS:
        row = {
            "": name,
            "processor s": f"{turns.median(name):.3f}",
            "to one by one": f"{turns.ratio(name):.3f}",
            "to at once": f"{turns.ratio(name, 'full matrix, gradients at once'):.2f}",
            "more memory, MiB": f"{growth[name]:.1f}",
        }
        report(f"reading {dim * dim} candidates from {samples} samples of R^10", row)


def measure_apart(name: str, dim: int, samples: int, net: Path, repeats: int) -> tuple[float, float]:
    """Read in a fresh process: median seconds of its processor, and MiB by which it grows beyond the data."""
    command = [sys.executable, "-m", "tests.benchmarks.test_extraction_cost"]
    command += [name, str(dim), str(samples), str(net), str(repeats)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    seconds, growth = done.stdout.split()[-2:]
    return float(seconds), float(growth)


def _measure(name: str, dim: int, samples: int, net: str, repeats: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    f, x = torch.load(net, weights_only=False), draw(samples)
    # what is imported and built on first use is not of the data
    READERS[name](f, x[:600], dim)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = _read_status("VmRSS")
    timed = busy(lambda: READERS[name](f, x, dim))
    seconds = median(timed() for _ in range(repeats))
    return seconds, max(0, _read_status("VmHWM") - before) / 1024


def _read_status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


# ---------------------------------------------------------------- six generators on images


def by_double_backward(f: nn.Module, x: Tensor, moved: Callable[[Tensor], Tensor], t: Tensor, v: Tensor) -> Tensor:
    """Df v as the transpose of the transpose, with a cotangent that is there to be differentiated by."""
    t = t.clone().requires_grad_()
    with torch.enable_grad():
        y = f(moved(t))
        dummy = torch.zeros_like(y, requires_grad=True)
        (pulled,) = torch.autograd.grad(y, t, dummy, create_graph=True)
        (pushed,) = torch.autograd.grad(pulled, dummy, v)
    return pushed


def each_generator(f: nn.Module, x: Tensor, symmetry: Symmetry) -> Tensor:
    """(B, K, m), from the derivatives of the images that ours takes."""
    tangents = input_tangents(x, symmetry)[""]
    return torch.stack([by_double_backward(f, x, lambda t: t, x, v) for v in tangents.unbind(1)], 1)


def through_the_warp(f: nn.Module, x: Tensor, symmetry: Symmetry) -> Tensor:
    """The same with the warp differentiated too, which is one-sided at the pixels, as published."""
    found = []
    for generator in symmetry.group.basis().to(x):

        def warp(t: Tensor, a: Tensor = generator) -> Tensor:
            # what reads the image is the inverse
            theta = (torch.eye(3, dtype=x.dtype) - t * a)[:2].expand(len(x), 2, 3)
            grid = F.affine_grid(theta, list(x.shape), align_corners=False)
            return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

        found.append(by_double_backward(f, x, warp, x.new_zeros(()), x.new_ones(())))
    return torch.stack(found, 1)


def local_error(pushed: Tensor) -> Tensor:
    """E|L_k f|^2 of an invariance: (K,)."""
    return pushed.double().square().sum(2).mean(0)


@pytest.mark.parametrize("outputs", [10, 1])
@pytest.mark.parametrize("shape", [(64, 3, 32, 32), (64, 1, 28, 28)], ids=lambda s: "x".join(map(str, s)))
def test_lie_derivatives_against_double_backward(
    shape: tuple[int, ...], outputs: int, benchmark: Any, report: Report
) -> None:
    """Relative errors are those of ``E|L_k f|^2``, the worst generator, against double precision.

    The one-sided derivative of the warp is another one, so that it has none.
    """
    torch.manual_seed(0)
    f = Classifier(channels=shape[1]).net.eval()
    f[-1] = nn.Linear(f[-1].in_features, outputs)
    x = F.avg_pool2d(torch.randn(shape, generator=torch.Generator().manual_seed(0)), 5, 1, 2)
    symmetry = Symmetry.of(IMAGES)
    symmetry.bind(x)
    exact = each_generator(copy.deepcopy(f).double(), x.double(), symmetry)
    expected = local_error(exact)

    def metric(backend: str) -> Callable[[], Tensor]:
        def run() -> Tensor:
            error = LieDerivativeError(IMAGES, reduction="sq", backend=backend)
            error.update(f, x)
            found = error.compute()
            return torch.stack([found[f"generator_{k}"] for k in range(6)])

        return run

    def gram(backend: str, sketch: int = 0) -> Callable[[], Tensor]:
        found = GeneratorGram(IMAGES, backend, null=False, sketch=sketch)

        def run() -> Tensor:
            with torch.no_grad():
                found.update(f, x)
            parts = found._unpack().parts
            return parts["system"].sum((0, 1)).diagonal() / parts["samples"].sum()

        # the first batch is questioned, which later ones are not
        run()
        return run

    def slopes(backend: str) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with torch.no_grad():
                return local_error(differentiate(f, x, input_tangents(x, symmetry), backend).slopes[""])

        return run

    def forward(times: int) -> Callable[[], Tensor]:
        many = x.repeat(times, 1, 1, 1)

        def run() -> Tensor:
            with torch.no_grad():
                return f(many)

        return run

    works: dict[str, Callable[[], Tensor]] = {
        "two backwards a generator": lambda: local_error(each_generator(f, x, symmetry)),
        "the same, through the warp": lambda: local_error(through_the_warp(f, x, symmetry)),
        "forward": forward(1),
        "forward of six batches": forward(6),
    }
    for backend in ("jvp", "vjp", "difference"):
        works |= {f"differentiate, {backend}": slopes(backend)}
        works |= {f"LieDerivativeError, {backend}": metric(backend), f"GeneratorGram, {backend}": gram(backend)}
    works["LieDerivativeError, auto"] = metric("auto")
    works |= {f"GeneratorGram, sketch={s}": gram("auto", s) for s in (1, 4)}
    turns = Turns({name: busy(work) for name, work in works.items()})
    benchmark.pedantic(turns.round, rounds=9, warmup_rounds=1)

    power = exact.square().sum(2)
    # for the same error of the mean over the population, of the noisiest generator
    noise = 2 * power.square().mean(0) / power.var(0)
    extra = ((2 * power.square().sum(0)).sqrt() / power.sum(0)).max()
    title = f"six generators on {'x'.join(map(str, shape))}, small CNN of {outputs} outputs"
    for name, work in works.items():
        ratio = 1 / turns.ratio(name)
        sketch = int(name[-1]) if "sketch" in name else 0
        even = ratio / float(1 + noise.max() / sketch) if sketch else ratio
        comparable = not name.startswith(("forward", "the same"))
        row = {
            "": name,
            "processor ms": f"{1e3 * turns.median(name):.1f}",
            "times faster": f"{ratio:.2f}",
            "relative error": f"{float((work() / expected - 1).abs().max()):.1e}" if comparable else "",
            "of which chance": f"{float(extra) / sketch**0.5:.1e}" if sketch else "",
            "at equal accuracy": f"{even:.2f}" if comparable else "",
        }
        benchmark.extra_info[name] = ratio
        report(title, row)


if __name__ == "__main__":
    print(*_measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])))
