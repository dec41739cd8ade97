"""Kernels that commute with rotations and mirrors: laws, group averages, and what convolutions do with them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.kernel_maps import (
    ChannelType,
    KernelMaps,
    RegularType,
    bias_maps,
    kernel_maps,
    read_channels,
)
from lightning_symmetry.functional.tensor_types import TensorType
from lightning_symmetry.groups import SO, Cyclic, Dihedral, Group, O, Scale

Matrices = tuple[Tensor, Tensor | None]
Types = Sequence[ChannelType]
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
NONE = {d: torch.zeros(0, d, d) for d in (1, 2, 3)}


def matrices(group: Group) -> Matrices:
    return group.basis(), None if group.discrete is None else group.discrete.linear  # type: ignore[attr-defined]


def finite(group: Matrices) -> Tensor:
    assert group[1] is not None
    return group[1].double()


def cube(mirrors: bool) -> Matrices:
    """All maps of the cubic grid onto itself."""
    found = [
        torch.eye(3)[list(order)] * torch.tensor(signs)
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]
    found.sort(key=lambda g: -float(g.trace()))
    return NONE[3], torch.stack([g for g in found if mirrors or float(torch.linalg.det(g)) > 0])


LATTICE: dict[str, Matrices] = {
    "flip of a line": (NONE[1], torch.tensor([[[1.0]], [[-1.0]]])),
    "C2": matrices(Cyclic(2)),
    "C4": matrices(Cyclic(4)),
    "D1": matrices(Dihedral(1)),
    "D2": matrices(Dihedral(2)),
    "D4": matrices(Dihedral(4)),
    "rotations of the cube": cube(mirrors=False),
    "rotations and mirrors of the cube": cube(mirrors=True),
    "quarter turns about z": (
        NONE[3],
        torch.stack([torch.block_diag(g, torch.eye(1)) for g in Cyclic(4).discrete.linear]),
    ),
}
CONTINUOUS: dict[str, Matrices] = {
    "SO(2)": matrices(SO(2)),
    "O(2)": matrices(O(2)),
    "SO(3)": matrices(SO(3)),
    "O(3)": matrices(O(3)),
    "about z": (F.pad(SO(2).basis(), (0, 1, 0, 1)), None),
    "about a diagonal": (SO(3).basis().mul(torch.tensor([1.0, -1.0, 1.0])[:, None, None]).sum(0, keepdim=True), None),
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def project(weight: Tensor, maps: Sequence[KernelMaps]) -> Tensor:
    flat, total = weight.flatten(), torch.zeros(weight.numel(), dtype=weight.dtype)
    for found in maps:
        total[found.index] = flat[found.index] @ found.basis @ found.basis.mT
    return total.view_as(weight)


def channels(types: Types, group: Matrices) -> int:
    order = len(group[1]) if group[1] is not None else 1
    return sum(t.copies * order if isinstance(t, RegularType) else t.size(group[0].shape[-1]) for t in types)


def dimension(group: Matrices, out: Types, into: Types, *sides: int) -> int:
    shape = (channels(out, group), channels(into, group), *sides)
    return sum(len(m.index) * m.basis.shape[1] for m in kernel_maps(shape, out, into, *group))


def represent(g: Tensor, types: Types, elements: Tensor) -> Tensor:
    """The matrix by which one element moves channels, block by block."""
    blocks = []
    for kind in types:
        if isinstance(kind, RegularType):
            block = torch.zeros(len(elements), len(elements), dtype=torch.float64)
            for h, element in enumerate(elements):
                block[int((elements - g @ element).abs().sum((1, 2)).argmin()), h] = 1
        else:
            block = torch.linalg.det(g).reshape(1, 1) if kind.pseudo else torch.ones(1, 1, dtype=torch.float64)
            for _ in range(kind.rank):
                block = torch.kron(block, g)
        blocks += [block] * kind.copies
    return torch.block_diag(*blocks)


def carry(x: Tensor, g: Tensor, rho: Tensor) -> Tensor:
    """``rho x(g^-1 p)`` for a map of the grid onto itself: (B, C, *sides)."""
    sides = x.shape[2:]
    centre = torch.tensor([(n - 1) / 2 for n in sides], dtype=torch.float64)
    places = torch.cartesian_prod(*[torch.arange(n).double() for n in sides]).reshape(-1, len(sides)) - centre
    # points are (x, y, z), axes of a tensor come in reverse; rows times g are g^-1 times points
    sources = (places.flip(1) @ g).flip(1) + centre
    places = sources.round().long() @ torch.tensor([x[0, 0].stride(i) for i in range(len(sides))])
    moved = x.flatten(2)[..., places].unflatten(2, sides)
    return torch.einsum("ij,bj...->bi...", rho, moved)


def types_of(group: Matrices) -> tuple[Types, Types]:
    if group[1] is not None and not len(group[0]) and len(group[1]) <= 8:
        return read_channels("2x0 + 1xreg + 1x1"), read_channels("1x1 + 2x0 + 1xreg + 1x0p")
    return read_channels("2x0 + 1x1p"), read_channels("1x1 + 1x0 + 1x2" if group[0].shape[-1] == 2 else "1x1 + 2x0")


@pytest.mark.parametrize("side", [2, 3, 4])
@pytest.mark.parametrize("name", LATTICE | CONTINUOUS)
def test_bases_are_orthonormal_and_blocks_cover_the_weight_once(name: str, side: int) -> None:
    group = (LATTICE | CONTINUOUS)[name]
    d = group[0].shape[-1]
    out, into = types_of(group)
    shape = (channels(out, group), channels(into, group), *[side] * d)
    maps = kernel_maps(shape, out, into, *group)
    places = torch.cat([m.index.flatten() for m in maps]).sort().values
    assert places.equal(torch.arange(len(places))) and len(places) == torch.tensor(shape).prod()
    for m in maps:
        torch.testing.assert_close(m.basis.mT @ m.basis, torch.eye(m.basis.shape[1], dtype=torch.float64))
    # orthonormal bases make P^2 = P = P^T; here through the blocks
    a, b = normal(*shape), normal(*shape, seed=1)
    once = project(a, maps)
    torch.testing.assert_close(project(once, maps), once)
    torch.testing.assert_close((b * once).sum(), (project(b, maps) * a).sum())


@pytest.mark.parametrize("name", LATTICE)
@pytest.mark.parametrize("side", [2, 3])
def test_for_maps_of_the_grid_it_is_the_average_over_the_group(name: str, side: int) -> None:
    group = LATTICE[name]
    elements, d = finite(group), group[0].shape[-1]
    out, into = types_of(group)
    weight = normal(channels(out, group), channels(into, group), *[side] * d)
    average = torch.zeros_like(weight)
    for g in elements:
        # K -> rho_out(g) K(g^-1 x) rho_in(g)^-1
        carried = carry(weight.transpose(0, 1), g, represent(g, out, elements))
        average += torch.einsum("io...,ji->oj...", carried, represent(g, into, elements)) / len(elements)
    torch.testing.assert_close(project(weight, kernel_maps(weight.shape, out, into, *group)), average)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("name", LATTICE)
def test_a_convolution_with_a_projected_kernel_commutes_with_maps_of_the_grid(name: str, dilation: int) -> None:
    group = LATTICE[name]
    elements, d = finite(group), group[0].shape[-1]
    out, into = types_of(group)
    for side in (2, 3):
        weight = normal(channels(out, group), channels(into, group), *[side] * d)
        maps = kernel_maps(weight.shape, out, into, *group, dilation=dilation)
        biases = bias_maps(len(weight), out, *group)
        x, bias = normal(2, weight.shape[1], *[6] * d, seed=1), project(normal(len(weight), seed=2), biases)

        def convolve(x: Tensor, weight: Tensor, bias: Tensor = bias) -> Tensor:
            return CONVOLUTIONS[d](x, weight, bias, dilation=dilation)

        right, plain = project(weight, maps), 0.0
        for g in elements[-4:]:
            left = represent(g, out, elements)
            moved = carry(x, g, represent(g, into, elements))
            torch.testing.assert_close(convolve(moved, right), carry(convolve(x, right), g, left), atol=1e-6, rtol=0)
            plain += float((convolve(moved, weight) - carry(convolve(x, weight), g, left)).abs().max())
        assert plain > 1


def test_scalars_commute_with_quarter_turns_and_flips_of_tensors() -> None:
    weight = normal(4, 3, 5, 5).float()
    weight = project(
        weight,
        [KernelMaps(m.index, m.basis.float()) for m in kernel_maps(weight.shape, None, None, *matrices(Dihedral(4)))],
    )
    x = normal(2, 3, 9, 9, seed=1).float()
    y = F.conv2d(x, weight, padding=2)
    torch.testing.assert_close(F.conv2d(x.rot90(1, (2, 3)), weight, padding=2), y.rot90(1, (2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(F.conv2d(x.flip(3), weight, padding=2), y.flip(3), atol=1e-4, rtol=0)


def test_vectors_turn_with_the_image() -> None:
    """The gradient commutes with rotations as samples of x times a function of the radius do."""
    slope = torch.tensor([[0.0, 0.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]).double()
    gradient = torch.stack([slope, slope.mT])[:, None]  # (x, y) from one scalar
    for name in ("SO(2)", "O(2)"):
        maps = kernel_maps((2, 1, 3, 3), VECTOR, None, *CONTINUOUS[name])
        torch.testing.assert_close(project(gradient, maps), gradient)
    curl = gradient.flip(0) * torch.tensor([-1.0, 1.0]).double().view(2, 1, 1, 1)
    torch.testing.assert_close(project(curl, kernel_maps((2, 1, 3, 3), VECTOR, None, *CONTINUOUS["SO(2)"])), curl)
    assert project(curl, kernel_maps((2, 1, 3, 3), VECTOR, None, *CONTINUOUS["O(2)"])).norm() < 1e-12


@pytest.mark.parametrize("name", ["SO(3)", "O(3)", "about z", "about a diagonal"])
@pytest.mark.parametrize("side", [2, 3, 4])
def test_samples_of_steerable_kernels_are_kept(name: str, side: int) -> None:
    """a(|x|) 1 + b(|x|) x x^T, and without mirrors c(|x|) [x]: vectors to vectors, of all rotations of space."""
    line = torch.arange(side).double() - (side - 1) / 2
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    p, radius = torch.stack((x, y, z), -1), (x * x + y * y + z * z).sqrt()
    kernel = torch.eye(3).double() * radius.sin()[..., None, None]
    kernel = kernel + p.unsqueeze(-1) * p.unsqueeze(-2) * radius.exp()[..., None, None]
    if name != "O(3)":
        zero = torch.zeros_like(x)
        cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))
        kernel = kernel + cross * radius.cos()[..., None, None]
    kernel = kernel.permute(3, 4, 0, 1, 2)
    maps = kernel_maps(kernel.shape, VECTOR, VECTOR, *CONTINUOUS[name])
    torch.testing.assert_close(project(kernel, maps), kernel)
    other = normal(*kernel.shape)
    assert project(other, maps).norm() < 0.8 * other.norm()


def test_scalars_of_all_rotations_depend_on_the_radius_alone() -> None:
    for name, d in (("SO(2)", 2), ("SO(3)", 3)):
        weight = normal(1, 1, *[5] * d)
        found = project(weight, kernel_maps(weight.shape, None, None, *CONTINUOUS[name]))[0, 0].flatten()
        line = torch.arange(5).double() - 2
        squares = torch.cartesian_prod(*[line] * d).square().sum(1)
        for square in squares.unique():
            ring = squares == square
            torch.testing.assert_close(found[ring], weight.flatten()[ring].mean().expand(int(ring.sum())))


SCALAR, VECTOR, REGULAR = map(read_channels, ("1x0", "1x1", "1xreg"))


def test_dimensions_of_kernels_of_scalars_count_the_orbits_of_taps() -> None:
    assert [dimension(LATTICE["C4"], SCALAR, SCALAR, k, k) for k in (2, 3, 4, 5)] == [1, 3, 4, 7]
    assert [dimension(LATTICE["D4"], SCALAR, SCALAR, k, k) for k in (2, 3, 4, 5)] == [1, 3, 3, 6]
    assert [dimension(CONTINUOUS["SO(2)"], SCALAR, SCALAR, k, k) for k in (2, 3, 4, 5)] == [1, 3, 3, 6]
    assert dimension(LATTICE["flip of a line"], SCALAR, SCALAR, 5) == 3
    assert dimension(CONTINUOUS["SO(3)"], SCALAR, SCALAR, 3, 3, 3) == 4
    assert dimension(CONTINUOUS["about z"], SCALAR, SCALAR, 3, 3, 3) == 9
    # eighths of a turn relate no more taps than quarters
    assert dimension(matrices(Cyclic(8)), SCALAR, SCALAR, 3, 3) == 3


def test_dimensions_at_a_single_tap_are_those_of_linear_maps() -> None:
    ranks = [(0, 0), (1, 1), (1, 2), (2, 0), (2, 2)]
    plane = F.pad(SO(2).basis(), (0, 1, 0, 1))
    expected = {
        "O(3)": (*CONTINUOUS["O(3)"], [1, 1, 0, 1, 3]),
        "SO(3)": (*CONTINUOUS["SO(3)"], [1, 1, 1, 1, 3]),
        "O(2) of a plane": (plane, torch.diag_embed(torch.tensor([[1.0, 1, 1], [-1.0, 1, 1]])), [1, 2, 4, 2, 10]),
        "SO(2) of a plane": (plane, None, [1, 3, 7, 3, 19]),
    }
    for basis, elements, counts in expected.values():
        # ranks run from input to output
        found = [dimension((basis, elements), [TensorType(1, o)], [TensorType(1, i)], 1, 1, 1) for i, o in ranks]
        assert found == counts


def test_dimensions_of_vectors_and_regular_channels() -> None:
    # the free orbits of 3 x 3 hold any map, the centre what commutes with quarter turns
    assert dimension(LATTICE["C4"], VECTOR, VECTOR, 3, 3) == 4 + 4 + 2
    assert dimension(LATTICE["C4"], VECTOR, SCALAR, 3, 3) == 2 + 2 + 0
    # a kernel between regular channels is one free kernel
    for name, order in (("C4", 4), ("D4", 8)):
        assert dimension(LATTICE[name], REGULAR, REGULAR, 3, 3) == 9 * order
        assert dimension(LATTICE[name], REGULAR, SCALAR, 3, 3) == 9
    assert dimension(CONTINUOUS["SO(3)"], SCALAR, VECTOR, 3, 3, 3) == 3


def test_copies_are_blocks_of_one_small_basis() -> None:
    for copies in (1, 5):
        maps = kernel_maps(
            (2 * copies, 2 * copies, 3, 3), [TensorType(copies, 1)], [TensorType(copies, 1)], *LATTICE["C4"]
        )
        assert [(tuple(m.index.shape), tuple(m.basis.shape)) for m in maps] == [((copies**2, 36), (36, 10))]


def test_large_bases_are_kept_orbit_by_orbit() -> None:
    types = read_channels("2xreg")
    maps = kernel_maps((16, 16, 5, 5), types, types, *LATTICE["D4"])
    assert len(maps) == 6 and sum(m.basis.shape[1] for m in maps) == 25 * 8
    assert sum(m.basis.numel() for m in maps) < 25 * 64 * 25 * 8 / 4


def test_groups_of_channels_are_convolutions_side_by_side() -> None:
    types = read_channels("2x1 + 4x0")
    whole = normal(8, 4, 3, 3)
    found = project(whole, kernel_maps(whole.shape, types, types, *LATTICE["D4"], groups=2))
    for half, kind in ((slice(0, 4), read_channels("2x1")), (slice(4, 8), None)):
        alone = kernel_maps((4, 4, 3, 3), kind, kind, *LATTICE["D4"])
        torch.testing.assert_close(found[half], project(whole[half], alone))
    (each,) = kernel_maps((6, 1, 3, 3), None, None, *LATTICE["C4"], groups=6)
    assert each.index.equal(torch.arange(54).view(6, 9)) and each.basis.shape == (9, 3)


def test_a_group_of_another_space_leaves_the_taps_where_they_are() -> None:
    types, weight = read_channels("2x1 + 1x0"), normal(7, 7, 4)
    maps = kernel_maps(weight.shape, types, types, *CONTINUOUS["about z"])
    found = project(weight, maps)
    alone = kernel_maps((7, 7, 1, 1, 1), types, types, *CONTINUOUS["about z"])
    for tap in range(4):
        each = project(weight[..., tap].reshape(7, 7, 1, 1, 1), alone)
        torch.testing.assert_close(found[..., tap], each.reshape(7, 7))
    halves = kernel_maps((6, 3, 4), read_channels("2x1"), read_channels("2x1"), *CONTINUOUS["about z"], groups=2)
    assert [tuple(m.index.shape) for m in halves] == [(2 * 4, 9)]


def test_unequal_sides_are_for_groups_that_keep_them() -> None:
    for name in ("C2", "D1", "D2"):
        weight, elements = normal(1, 1, 3, 5), finite(LATTICE[name])
        average = sum(carry(weight, g, torch.eye(1).double()) for g in elements) / len(elements)
        torch.testing.assert_close(project(weight, kernel_maps(weight.shape, None, None, *LATTICE[name])), average)
    assert dimension(CONTINUOUS["about z"], SCALAR, SCALAR, 5, 3, 3) == 5 * 3
    for name in ("C4", "SO(2)"):
        with pytest.raises(InvalidSetting, match="exchanges two"):
            kernel_maps((1, 1, 3, 5), None, None, *(LATTICE | CONTINUOUS)[name])
        with pytest.raises(InvalidSetting, match="exchanges two"):
            kernel_maps((1, 1, 3, 3), None, None, *(LATTICE | CONTINUOUS)[name], dilation=(1, 2))
    with pytest.raises(InvalidSetting, match="exchanges two"):
        kernel_maps((1, 1, 3, 3, 5), None, None, *CONTINUOUS["about z"])


def test_what_was_learnt_counts_as_the_rotations_that_it_is_near() -> None:
    exact = kernel_maps((3, 3, 3, 3, 3), VECTOR, VECTOR, *CONTINUOUS["about z"])
    shaken = 2.5 * CONTINUOUS["about z"][0] + 0.01 * torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0))
    weight = normal(3, 3, 3, 3, 3)
    torch.testing.assert_close(
        project(weight, kernel_maps(weight.shape, VECTOR, VECTOR, shaken)), project(weight, exact)
    )
    # two axes generate all rotations
    tilts = kernel_maps(weight.shape, VECTOR, VECTOR, SO(3).basis()[1:])
    torch.testing.assert_close(
        project(weight, tilts), project(weight, kernel_maps(weight.shape, VECTOR, VECTOR, *CONTINUOUS["SO(3)"]))
    )


def test_groups_that_kernels_cannot_have_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="stretches or shears"):
        kernel_maps((1, 1, 3, 3), None, None, *matrices(Scale(2)))
    with pytest.raises(InvalidSetting, match="stretch or shear"):
        kernel_maps((1, 1, 3, 3), None, None, NONE[2], torch.tensor([[[1.0, 0], [0, 1]], [[1, 1], [0, -1]]]))
    with pytest.raises(InvalidSetting, match="regular channels"):
        kernel_maps((2, 1, 3, 3), read_channels("2xreg"), None, *CONTINUOUS["O(2)"])
    with pytest.raises(InvalidSetting, match="no tap"):
        kernel_maps((1, 1, 3, 3), None, None, *matrices(Cyclic(3)))
    with pytest.raises(DimensionMismatch, match="types of 3 channels for 4"):
        kernel_maps((4, 1, 3, 3), read_channels("1x1 + 1x0"), None, *LATTICE["C4"])
    with pytest.raises(DimensionMismatch, match="whole copies"):
        kernel_maps((4, 1, 3, 3), read_channels("2x1"), read_channels("2x1"), *LATTICE["C4"], groups=4)
    # nothing to relate is no mistake where a single tap is all there is
    assert dimension(matrices(Cyclic(3)), VECTOR, VECTOR, 1, 1) == 2
