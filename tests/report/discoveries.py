"""Extractions made by hand, with spectra whose numbers are known."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.discovery import Discovery, GeneratorEvidence
from lightning_symmetry.discovery.naming import name_in
from lightning_symmetry.discovery.spectrum import Direction, Spectrum
from lightning_symmetry.groups import SE, SO, Group, Lorentz, PolynomialField
from lightning_symmetry.symmetry import Symmetry


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def make_spectrum(defects: list[float], declared: int, labels: dict[int, str] | None = None, **more: Any) -> Spectrum:
    labels = labels or {}
    directions = tuple(
        Direction(
            defect=v,
            low=0.87 * v,
            high=1.13 * v,
            upper=1.11 * v,
            label=labels.get(i, "equivariance"),
        )
        for i, v in enumerate(defects)
    )
    more = {"null": tuple(0.21 + 0.02 * i for i in range(len(defects))), "samples": 4096} | more
    return Spectrum(directions, delta=0.1, declared=declared, **more)


def make_discovery(sentence: str, group: Group, spectrum: Spectrum, x: Any, **more: Any) -> Discovery:
    """Say that the first generators of a group were found, as many as the spectrum declares."""
    symmetry = Symmetry.parse(sentence, over=group).bind(x)
    generators = group.coefficients().detach().double()
    namings = [name_in(group, g) for g in generators]
    verdict = "accepted" if spectrum.declared else "violated"
    evidence = tuple(
        GeneratorEvidence(k, float(g.norm()), 0.004, 1.2, verdict, n.name, n.cosine, tuple(map(tuple, g.tolist())))
        for k, (g, n) in enumerate(zip(generators, namings, strict=True))
    )
    d = spectrum.declared
    settings = {
        "verdict": "symmetric" if d else "absent",
        "canonical_names": tuple(n.name for n in namings[:d]),
        "closure": 0.003 if d > 1 else None,
    }
    return Discovery(
        symmetry=symmetry,
        name=symmetry.name,
        generators=evidence,
        canonical=generators[:d],
        canonical_cosines=tuple(n.cosine for n in namings[:d]),
        coverage=0.97,
        spectrum=spectrum,
        **(settings | more),
    )


def lorentz() -> tuple[Discovery, Any]:
    """Find 6 of 16 directions."""
    x = normal(16, 4)
    defects = [0.0031, 0.0035, 0.0041, 0.0044, 0.0052, 0.0058, 0.099, 0.12, 0.16, 0.19, 0.21, 0.25, 0.31, 0.36, 0.41]
    return make_discovery("vector(4) -> scalar", Lorentz(4).bind(4), make_spectrum([*defects, 0.47], 6), x), x


def digits() -> tuple[Discovery, Any]:
    """Find 1 of 6 directions."""
    x = normal(4, 1, 12, 12).relu()
    spectrum = make_spectrum([0.077, 0.377, 0.41, 0.5, 0.62, 1.0], 1, unit="the most changing direction")
    return make_discovery("image -> label", SO(2).bind(2), spectrum, x), x


def none() -> tuple[Discovery, Any]:
    """Find none of 6 directions; the best of them is shown."""
    x = normal(4, 1, 12, 12).relu()
    spectrum = make_spectrum([0.281, 0.393, 0.45, 0.52, 0.6, 1.0], 0)
    return make_discovery("image -> label", SO(2).bind(2), spectrum, x), x


def refused() -> tuple[Discovery, Any]:
    """Refuse to say anything."""
    x = normal(16, 2)
    spectrum = Spectrum((), delta=0.1, declared=0, refused="the output hardly depends on the input")
    return make_discovery("vector -> scalar", SO(2).bind(2), spectrum, x, verdict="undecided"), x


def cloud() -> tuple[Discovery, Any]:
    """Find 3 of 6 directions, one of them exactly."""
    x = normal(8, 5, 2)
    spectrum = make_spectrum([0.0, 0.002, 0.012, 0.4, 0.5, 0.6], 3, {1: "invariance", 2: "homogeneity of degree 1"})
    return make_discovery("points -> scalar", SE(2).bind(2), spectrum, x), x


def fields() -> tuple[Discovery, Any]:
    """Find 2 of 30 polynomial fields in three dimensions."""
    x = normal(8, 3)
    coefficients = torch.zeros(2, 3, 10)
    coefficients[0, 1, 3] = 1
    coefficients[1, 0, 0], coefficients[1, 1, 1], coefficients[1, 2, 2] = 3, 1, -2
    spectrum = make_spectrum([1e-12, 4e-9, *(0.08 + 0.03 * i for i in range(28))], 2, unidentifiable=2, null=())
    return make_discovery("points -> scalar", PolynomialField(2, coefficients=coefficients), spectrum, x), x


EXTRACTIONS = {made.__name__: made for made in (lorentz, digits, none, refused, cloud, fields)}
