"""What is read out of exact maps, whose symmetries are known: no training, double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from lightning_symmetry.data import KdVJets
from lightning_symmetry.discovery import Discovery, GeneratorGram, discover, read_generators
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.spans import principal_cosines
from lightning_symmetry.groups import SO, Group, PolynomialField
from lightning_symmetry.groups import by_name as group_by_name
from lightning_symmetry.symmetrization import lie_derivative
from lightning_symmetry.symmetry import Symmetry


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_spans(found: Discovery, truth: Group | Tensor, tolerance: float = 1e-6) -> None:
    """The declared generators and the true ones span the same space."""
    known = truth if isinstance(truth, Tensor) else truth.coefficients()
    assert len(found.canonical) == len(known), found
    cosines = principal_cosines(found.canonical, known.double())
    assert float(1 - cosines.min()) < tolerance, found


# ---------------------------------------------------------------- linear actions


@pytest.mark.parametrize("backend", ["jvp", "vjp", "difference"])
def test_a_length_is_kept_by_rotations(backend: str) -> None:
    found = discover(lambda x: x.norm(dim=1), normal(300, 3), "GL(3) on vector -> scalar", backend=backend)
    assert_spans(found, SO(3))
    assert found.verdict == "symmetric" and all(g.label == "invariance" for g in found.generators)
    assert all(g.violation < 1e-10 for g in found.generators)


def test_the_cross_product_has_twelve() -> None:
    """Nine of gl(3) acting on the plane that two vectors span and on its normal, and three that leave it alone."""

    def cross(x: Tensor) -> Tensor:
        return torch.linalg.cross(x[:, :3], x[:, 3:])

    found = discover(cross, normal(2000, 6), "GL(6) on vector -> learned")
    spectrum = found.spectrum
    assert spectrum.declared == 12 and spectrum.directions[12].defect > 0.9
    labels = [d.label for d in spectrum.directions[:12]]
    assert labels.count("invariance") == 3 and labels.count("homogeneity of degree 2") == 1
    assert found.closure < 1e-6 and all(g.violation < 1e-10 for g in found.generators)
    assert spectrum.null[0] > 0.5


def attract(x: Tensor) -> Tensor:
    """Accelerations of two bodies in the plane, from where they are."""
    apart = x[:, 2:] - x[:, :2]
    pull = apart / apart.norm(dim=1, keepdim=True) ** 3
    return torch.cat([pull, -pull], 1)


def test_two_bodies_have_a_quotient_of_two() -> None:
    found = discover(attract, normal(1500, 4), "GL(4) on vector -> learned")
    spectrum = found.spectrum
    assert spectrum.dead_outputs == 8  # the accelerations are opposite: half of all output matrices are never told
    labels = [d.label for d in spectrum.directions[: spectrum.declared]]
    assert labels.count("invariance") == 8 and len(labels) == 10
    assert sorted(set(labels) - {"invariance"}) == ["equivariance", "homogeneity of degree -2"]
    kernel = torch.stack([torch.tensor(g.matrix) for g in found.generators if g.label == "invariance"]).double()
    turn, scaling = (torch.tensor(g.matrix).double() for g in found.generators if g.label != "invariance")
    bracket = turn @ scaling - scaling @ turn
    # the quotient by the invariances is abelian
    assert float(bracket.norm()) < 1e-6 or float(principal_cosines(bracket[None], kernel)[0]) > 1 - 1e-9
    (turn,) = (g for g in found.generators if g.label == "equivariance")
    relative = torch.tensor([[-1.0, 0, 1, 0], [0, -1, 0, 1]]).double()
    on_the_distance = relative @ torch.tensor(turn.matrix).double() @ relative.mT
    on_the_distance -= torch.eye(2) * on_the_distance.trace() / 2
    assert float((on_the_distance + on_the_distance.mT).norm()) < 1e-6 * float(on_the_distance.norm())


def test_the_same_coefficients_act_on_both_sides() -> None:
    found = discover(lambda x: x * x.norm(dim=1, keepdim=True), normal(500, 2), "GL(2) on vector -> same")
    assert_spans(found, SO(2))
    assert found.generators[0].label == "equivariance" and found.symmetry.sentence.endswith("vector -> vector")


def test_matrices_are_shared_over_the_elements_of_a_set() -> None:
    def spread(x: Tensor) -> Tensor:
        return torch.cdist(x, x).square().mean((1, 2))

    found = discover(spread, normal(200, 6, 3), "affine on points -> scalar")
    assert_spans(found, group_by_name("SE(3)").bind(3))


def test_translations_are_told_by_affine_candidates() -> None:
    matrix, shift = torch.diag(torch.tensor([1.0, 4.0])).double(), torch.tensor([3.0, -1.0]).double()

    def bowl(p: Tensor) -> Tensor:
        return torch.einsum("bi,ij,bj->b", p - shift, matrix, p - shift)

    found = discover(bowl, normal(400, 2), "affine on points -> scalar")
    truth = torch.tensor([[0.0, -4.0, -4.0], [1.0, 0.0, -3.0], [0.0, 0.0, 0.0]])  # turns on ellipses about the centre
    assert_spans(found, truth[None])


def test_an_unknown_affine_output_action_is_found() -> None:
    """f(Rx) = R f(x) up to the constant that was added."""
    shift = torch.tensor([5.0, 2.0]).double()

    def f(x: Tensor) -> Tensor:
        return x * x.norm(dim=1, keepdim=True) + shift

    linear = discover(f, normal(400, 2), "GL(2) on vector -> learned")
    affine = discover(f, normal(400, 2), "GL(2) on vector -> learned(affine=True)")
    assert linear.spectrum.declared < affine.spectrum.declared == 2
    assert all(g.violation < 1e-10 for g in affine.generators)


def test_several_parts_of_different_units_are_weighed() -> None:
    """An energy with a large offset beside small forces: both must hold."""

    def f(x: dict[str, Tensor]) -> dict[str, Tensor]:
        r = x["pos"]
        return {
            "energy": 1e6 + 1e3 * r.square().sum((1, 2)),
            "forces": -1e-3 * r * r.square().sum((1, 2), keepdim=True),
        }

    sentence = "GL(3) on pos=points -> energy=scalar, forces=vector"
    assert_spans(discover(f, {"pos": normal(300, 4, 3)}, sentence), SO(3))

    def broken(x: dict[str, Tensor]) -> dict[str, Tensor]:
        y = f(x)
        return {**y, "forces": y["forces"] * torch.tensor([1.0, 1.0, 2.0]).double()}

    found = discover(broken, {"pos": normal(300, 4, 3)}, sentence)
    assert_spans(found, SO(3).basis()[:1])


def test_a_map_of_time_tau_is_tied() -> None:
    turn = torch.matrix_exp(torch.tensor([[-0.1, -0.3], [0.3, -0.1]]).double())
    found = discover(lambda p: p @ turn.mT, normal(300, 2), "GL(2) on points -> points")
    assert found.spectrum.declared == 2  # everything that commutes with it
    assert "the flow itself" not in [g.label for g in found.generators]  # it moves by a whole step, not infinitesimally


# ---------------------------------------------------------------- fields


def hopf(p: Tensor) -> Tensor:
    return p * (1 - p.square().sum(1, keepdim=True)) + torch.stack([-p[:, 1], p[:, 0]], 1)


def van_der_pol(p: Tensor) -> Tensor:
    return torch.stack([p[:, 1], (1 - p[:, 0] ** 2) * p[:, 1] - p[:, 0]], 1)


def test_a_limit_cycle_turns_and_van_der_pol_has_nothing() -> None:
    found = discover(hopf, normal(1000, 2), "polynomials(2) on points -> velocity")
    assert found.canonical_names == ("rotation",) and found.spectrum.directions[1].defect > 0.15
    nothing = discover(van_der_pol, normal(1000, 2), "polynomials(2) on points -> velocity")
    assert nothing.verdict == "absent" and nothing.spectrum.directions[0].defect > 0.2


def test_on_the_cycle_alone_not_everything_can_be_told() -> None:
    angle = normal(500) * 9
    found = discover(hopf, torch.stack([angle.cos(), angle.sin()], 1), "polynomials(2) on points -> velocity")
    assert found.spectrum.unidentifiable == 2  # (1 - r^2) times either axis vanishes on the data
    assert any("cannot be told" in note for note in found.notes)


def test_the_flow_itself_is_told_apart() -> None:
    linear = torch.tensor([[-0.2, -1.0], [1.0, -0.2]]).double()
    found = discover(lambda p: p @ linear.mT, normal(300, 2), "GL(2) on points -> velocity")
    assert found.spectrum.declared == 2 and "the flow itself" in [g.label for g in found.generators]


def test_multiples_of_an_invariance_are_counted_once() -> None:
    """y - x^2 is kept by d/dx + 2x d/dy and by every function times it."""
    found = discover(lambda p: p[:, 1] - p[:, 0] ** 2, normal(600, 2), "polynomials(2) on points -> scalar")
    spectrum = found.spectrum
    assert (spectrum.declared, spectrum.pointwise_rank, spectrum.multiples) == (1, 1, 2)
    known = PolynomialField(2, count="all").bind(2).coefficients()[0] * 0
    known[0, 2], known[1, 0] = 1.0, 2.0  # columns are x, y, 1, x^2, xy, y^2
    assert_spans(found, known[None])


def waves(samples: int, seed: int = 0) -> Tensor:
    """Points of solutions of u_t = 0.3 u_xx: t, x, u and all derivatives up to the second."""
    k, a = (
        0.4 + 1.6 * torch.rand(samples, 4, generator=torch.Generator().manual_seed(seed + i)).double() for i in (1, 2)
    )
    t, x = torch.rand(samples, generator=torch.Generator().manual_seed(seed)).double(), 2 * normal(samples, seed=seed)
    angle = k * x[:, None] + 6 * normal(samples, 4, seed=seed + 3)
    size = a * torch.exp(-0.3 * k**2 * t[:, None])
    parts = [
        size * angle.cos(), -0.3 * size * k**2 * angle.cos(), -size * k * angle.sin(),
        0.09 * size * k**4 * angle.cos(), 0.3 * size * k**3 * angle.sin(), -size * k**2 * angle.cos(),
    ]  # fmt: skip
    return torch.stack([t, x, *(part.sum(1) for part in parts)], 1)


def test_the_heat_equation_has_eight() -> None:
    found = discover(lambda j: j[:, 3] - 0.3 * j[:, 7], waves(800), "polynomials(2) on jet('t x', 'u', 2) -> scalar",
                     delta=0.01)  # fmt: skip
    t, x, u, one = 0, 1, 2, 3
    place = {(): one, (0,): t, (1,): x, (2,): u, (0, 0): 4, (0, 1): 5, (1, 1): 6, (0, 2): 7, (1, 2): 8, (2, 2): 9}
    fields = [
        [(t, (), 1)], [(x, (), 1)], [(u, (2,), 1)], [(u, (), 1)], [(x, (1,), 1), (t, (0,), 2)],
        [(x, (0,), 2 * 0.3), (u, (1, 2), -1)], [(u, (1,), 1)], [(u, (1, 1), 1), (u, (0,), 2 * 0.3)],
    ]  # fmt: skip
    truth = torch.zeros(8, 3, 10, dtype=torch.float64)
    for field, terms in zip(truth, fields, strict=True):
        for axis, factors, value in terms:
            field[axis, place[factors]] = value
    assert_spans(found, truth, 1e-10)


def test_korteweg_and_de_vries_have_four() -> None:
    data = KdVJets(double=True)
    found = discover(data.residual, data.draw(Rng(0), 512), "polynomials(2) on jet('t x', 'u', 3) -> scalar",
                     delta=0.01, truth=data.truth())  # fmt: skip
    assert found.spectrum.declared == 4 and found.cosine > 1 - 1e-10
    names = sorted(g.name for g in found.generators)
    assert names == ["d/dt", "d/dx", "t d/dt - 2/3 u d/du + 1/3 x d/dx", "t d/dx + d/du"]
    assert found.algebra.name == "solvable of dimension 4, derived 3"


# ---------------------------------------------------------------- images, classes, graphs


def blobs(samples: int, size: int = 16, width: float = 0.08) -> Tensor:
    centre = 0.5 * (torch.rand(samples, 1, 1, 1, 2, generator=torch.Generator().manual_seed(0)).double() - 0.5)
    line = (torch.arange(size).double() + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.exp(-((x - centre[..., 0]) ** 2 + 2 * (y - centre[..., 1]) ** 2) / width)


def test_the_radius_of_a_blob_is_kept_by_turns() -> None:
    line = (torch.arange(16).double() + 0.5) / 8 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")

    def moment(images: Tensor) -> Tensor:
        return torch.stack([(images * r).sum((1, 2, 3)) for r in (x**2 + y**2, (x**2 + y**2) ** 2)], 1)

    found = discover(moment, blobs(200), "affine on image(gradient='spectral') -> scalar", truth=SO(2))
    assert found.spectrum.declared == 1 and found.canonical_names == ("rotation",) and found.cosine > 0.9999
    assert found.spectrum.unit == "the affine warp that changes most"


def test_an_image_may_answer_an_image() -> None:
    kernel = torch.exp(-torch.tensor([[2.0, 1, 2], [1, 0, 1], [2, 1, 2]])).double()[None, None]

    def blur(images: Tensor) -> Tensor:
        return F.conv2d(images, kernel, padding=1).square()

    found = discover(blur, blobs(60, width=0.15), "translation on image(gradient='spectral') -> same")
    assert found.spectrum.declared == 2 and found.generators[0].label == "equivariance"
    window = torch.linspace(0, 1, 16).double()
    broken = discover(
        lambda i: blur(i) * window, blobs(60, width=0.15), "translation on image(gradient='spectral') -> same"
    )
    assert broken.canonical_names == ("translation along y",)


def test_brightness_is_a_candidate_too() -> None:
    found = discover(
        lambda i: (i - i.mean((1, 2, 3), keepdim=True)).flatten(1).norm(dim=1),
        blobs(100),
        "intensity on image -> scalar",
    )
    assert found.spectrum.declared == 1
    assert abs(float(found.canonical[0].flatten().abs().max()) - float(found.canonical[0].abs().sum())) < 1e-6


def test_logits_are_compared_as_probabilities() -> None:
    """A turn adds the same to all logits: no probability notices."""

    def f(x: Tensor) -> Tensor:
        angle = torch.atan2(x[:, 1], x[:, 0]).unsqueeze(1)
        return torch.stack([x.norm(dim=1), 2 - x.norm(dim=1), x.norm(dim=1) / 2], 1) + 9 * angle

    data = normal(400, 2) + torch.tensor([5.0, 0.0])
    assert_spans(discover(f, data, "GL(2) on vector -> label"), SO(2))
    assert_spans(discover(lambda x: f(x).softmax(1), data, "GL(2) on vector -> label"), SO(2))
    assert discover(f, data, "GL(2) on vector -> scalar").spectrum.declared == 0


def test_sequences_and_graphs_are_read() -> None:
    torch.manual_seed(0)
    cell = nn.GRU(1, 5, batch_first=True).double()

    def f(x: Tensor) -> Tensor:
        return cell(x.norm(dim=2, keepdim=True))[0][:, -1]

    with torch.backends.mkldnn.flags(enabled=False):
        assert_spans(discover(f, normal(200, 4, 2), "GL(2) on points -> scalar"), SO(2))

    def energy(x: dict[str, Tensor]) -> Tensor:
        per_node = x["pos"].square().sum(1)
        return torch.zeros(60).double().index_add(0, x["batch"], per_node.sqrt())

    owner = torch.arange(60).repeat_interleave(torch.arange(60) % 4 + 1)
    graphs = {"pos": normal(len(owner), 3), "batch": owner}
    assert_spans(discover(energy, graphs, "GL(3) on pos=points -> scalar"), SO(3))
    found = discover(
        lambda x: x["pos"] * x["pos"].square().sum(1, keepdim=True), graphs, "GL(3) on pos=points -> vector"
    )
    assert_spans(found, SO(3))


# ---------------------------------------------------------------- streams


def oracle(x: Tensor, f: Callable[[Tensor], Tensor], basis: Tensor) -> Tensor:
    """The Gram matrix of an invariance, sample by sample."""
    gram = torch.zeros(len(basis), len(basis)).double()
    for row in x:
        jacobian = torch.autograd.functional.jacobian(f, row[None]).reshape(-1, len(row))
        moved = basis.double() @ row @ jacobian.mT
        gram += moved @ moved.mT
    return gram


def sums(gram: GeneratorGram, name: str) -> Tensor:
    return gram._unpack().parts[name].sum(0)


def test_the_sums_are_those_of_a_plain_loop() -> None:
    x, f = normal(40, 3), lambda x: torch.stack([x.prod(1), x.square().sum(1)], 1)
    gram = GeneratorGram("GL(3) on vector -> scalar", sketch=0, null=False)
    gram.update(f, x)
    system = oracle(x, f, gram.symmetry.group.basis())
    torch.testing.assert_close(sums(gram, "system")[0], system)
    many = normal(20000, 3)
    gram = GeneratorGram("GL(3) on vector -> scalar", null=False)
    gram.update(f, many)
    slopes = torch.stack([many[:, [1, 0, 0]] * many[:, [2, 2, 1]], 2 * many], 1)
    tangents = torch.einsum("kij,nj->nki", gram.symmetry.group.basis().double(), many)
    expected = torch.einsum("n,nki,nli->kl", slopes.square().sum((1, 2)) / 3, tangents, tangents)
    # white noise gives the norm of a Jacobian up to chance: 1 % for so many samples
    torch.testing.assert_close(
        sums(gram, "inputs")[0, 0, 0], expected, rtol=0.05, atol=0.05 * float(expected.abs().max())
    )


def test_batches_may_come_in_any_size_and_order() -> None:
    x = normal(256, 3).float()
    f = lambda x: x.square().sum(1) + x[:, 0]  # noqa: E731
    whole, parts = (GeneratorGram("GL(3) on vector -> scalar", null=False) for _ in range(2))
    whole.update(f, x)
    for part in x[torch.randperm(256)].split(37):
        parts.update(f, part)
    torch.testing.assert_close(whole.sums, parts.sums, rtol=1e-6, atol=1e-9)
    other = GeneratorGram("GL(3) on vector -> scalar", null=False)
    other.update(f, x[:100])
    rest = GeneratorGram("GL(3) on vector -> scalar", null=False)
    rest.update(f, x[100:])
    torch.testing.assert_close(other.sums + rest.sums, whole.sums, rtol=1e-6, atol=1e-9)


def test_the_size_of_the_state_does_not_grow() -> None:
    gram, sizes = GeneratorGram("GL(3) on vector -> scalar"), []
    for seed in range(3):
        gram.update(lambda x: x.norm(dim=1), normal(64, 3, seed=seed))
        sizes.append(gram.sums.numel())
    assert len(set(sizes)) == 1
    gram.reset()
    with pytest.raises(InvalidSetting, match="no batch"):
        gram.read()


@pytest.mark.parametrize("output", ["scalar", "label", "learned"])
def test_a_sketch_of_the_output_says_the_same_on_average(output: str) -> None:
    def f(x: Tensor) -> Tensor:
        return torch.cat([x.square(), x.norm(dim=1, keepdim=True)], 1)

    exact, rough = (
        discover(f, normal(4000, 2), f"GL(2) on vector -> {output}", sketch=sketch).spectrum for sketch in (0, 2)
    )
    for a, b in zip(exact.directions, rough.directions, strict=True):
        assert abs(a.defect - b.defect) < 0.1 * max(a.defect, 0.1)


def test_a_truth_that_is_saved_can_be_used_again(tmp_path: Any) -> None:
    def cross(x: Tensor) -> Tensor:
        return torch.linalg.cross(x[:, :3], x[:, 3:])

    found = discover(cross, normal(600, 6), "GL(6) on vector -> learned")
    found.save(tmp_path)
    again = Discovery.load(tmp_path)
    assert again.spectrum == found.spectrum and str(again) == str(found)
    x, t = normal(5, 6, seed=3), 0.3 * normal(5, 12, seed=4)
    g = again.symmetry.group.exp(t)
    again.symmetry.bind(x, cross(x))
    moved = again.symmetry.move_output(g, cross(x))
    torch.testing.assert_close(cross(again.symmetry.move_input(g, x)), moved, rtol=1e-5, atol=1e-5)


def test_a_loader_of_pairs_and_a_module_are_taken() -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    data = [(normal(40, 2, seed=i).float(), torch.zeros(40)) for i in range(3)]
    discover(net, data, "GL(2) on vector -> scalar")
    assert net.training and all(module.training for module in net.modules())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_the_two_term_defect_is_relative_to_both_motions() -> None:
    found = discover(lambda x: 2 * x + x**2, normal(800, 2), "SO(2) on vector -> same", null=False)
    x, turn = normal(800, 2), torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double()
    pushed, moved = (2 + 2 * x) * (x @ turn.mT), (2 * x + x**2) @ turn.mT
    expected = (pushed - moved).norm() / (pushed.square().sum() + moved.square().sum()).sqrt()
    assert abs(found.spectrum.directions[0].two_term - float(expected)) < 1e-9


def test_the_gram_matrix_holds_every_lie_derivative() -> None:
    symmetry, x = Symmetry.parse("GL(2) on vector -> same"), normal(100, 2)
    f = lambda x: 2 * x + x**2  # noqa: E731
    gram = GeneratorGram(symmetry, null=False)
    gram.update(f, x)
    direct = lie_derivative(f, x, symmetry)
    torch.testing.assert_close(sums(gram, "system")[0].diagonal(), direct.square().sum((0, 2)), rtol=1e-10, atol=1e-10)


def test_it_is_a_torchmetric_in_every_way() -> None:
    gram, x = GeneratorGram("GL(2) on vector -> scalar"), normal(200, 2)
    f = lambda x: x.norm(dim=1)  # noqa: E731
    assert float(gram(f, x)["n_generators"]) == 1
    gram.update(f, x[:0])
    assert float(gram.compute()["n_generators"]) == 1 and gram.read().spectrum.samples == 200


# ---------------------------------------------------------------- what cannot be told


def test_a_constant_map_is_refused() -> None:
    found = discover(
        lambda x: torch.full((len(x), 2), 3.0) + 0 * x, normal(100, 2).float(), "GL(2) on vector -> scalar"
    )
    assert found.verdict == "undecided" and "same answer" in found.spectrum.refused
    assert "same answer" in found.conclusion and found.spectrum.declared == 0


def test_saturated_classes_are_refused() -> None:
    found = discover(lambda x: 1e3 * x, normal(100, 2) * 0.1 + torch.tensor([5.0, 0.0]), "GL(2) on vector -> label")
    assert "temperature" in found.spectrum.refused


def test_too_few_samples_are_refused() -> None:
    assert "too few" in discover(lambda x: x.norm(dim=1), normal(3, 2), "GL(2) on vector -> scalar").spectrum.refused


def test_more_unknowns_than_samples_declare_nothing() -> None:
    net = lambda x: torch.tanh(x @ normal(8, 8, seed=1)).sum(1) + (x**3).sum(1)  # noqa: E731
    found = discover(net, normal(40, 8), "GL(8) on vector -> scalar")
    assert found.spectrum.declared == 0


def test_data_in_a_plane_leave_directions_untold() -> None:
    data = normal(300, 3) * torch.tensor([1.0, 1.0, 0.0])
    found = discover(lambda x: x.norm(dim=1), data, "GL(3) on vector -> scalar")
    assert found.spectrum.unidentifiable == 3 and any("cannot be told" in note for note in found.notes)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (torch.full((20, 2), math.nan), "NaN"),
        ([], "without a single batch"),
        (3, "data of type int"),
        (torch.randint(0, 5, (20, 2)), "whole numbers"),
    ],
)
def test_bad_data_are_told_in_a_sentence(data: Any, words: str) -> None:
    with pytest.raises((InvalidSetting, ActionMismatch), match=words):
        discover(lambda x: x, data, "GL(2) on vector -> scalar")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"delta": 0.0}, "share"),
        ({"backend": "sideways"}, "jvp"),
        ({"folds": 2}, "at least 4"),
        ({"symmetry": "D4 on vector -> scalar"}, "no generators"),
        ({"symmetry": "GL(40) on vector -> scalar"}, "unknowns"),
    ],
)
def test_bad_settings_are_told_in_a_sentence(settings: dict[str, Any], words: str) -> None:
    size = 40 if "40" in str(settings.get("symmetry")) else 2
    arguments = {"symmetry": "GL(2) on vector -> scalar", **settings}
    with pytest.raises(InvalidSetting, match=words):
        discover(lambda x: x.norm(dim=1), normal(50, size), **arguments)


def test_what_a_learnt_group_could_become_is_looked_for() -> None:
    found = discover(lambda x: x.norm(dim=1), normal(200, 3), "vector -> scalar")
    assert_spans(found, SO(3))


def test_a_symmetry_of_small_steps_alone_is_doubted() -> None:
    def steps(x: Tensor) -> Tensor:
        return x.norm(dim=1) + 3 * torch.floor(4 * torch.atan2(x[:, 1], x[:, 0]) / math.pi)

    found = discover(steps, normal(400, 2), "GL(2) on vector -> scalar")
    assert any("not for finite ones" in note for note in found.notes)


def test_what_is_detached_is_doubted() -> None:
    found = discover(lambda x: x.norm(dim=1) + 3 * x[:, 0].detach(), normal(400, 2), "GL(2) on vector -> scalar")
    assert any("detached" in note for note in found.notes)
    blind = torch.no_grad()(lambda x: x.norm(dim=1))
    assert discover(blind, normal(400, 2), "GL(2) on vector -> scalar").spectrum.declared == 1


def test_chance_that_does_as_well_is_told() -> None:
    scale = torch.tensor([1000.0, 1.0])
    found = discover(lambda x: (x / scale).norm(dim=1), normal(400, 2) * scale, "GL(2) on vector -> scalar")
    assert any("chance does as well" in note for note in found.notes)


def test_too_few_different_samples_are_told() -> None:
    found = discover(lambda x: (x**3).sum(1), normal(6, 3).repeat(20, 1), "GL(3) on vector -> scalar")
    assert found.spectrum.declared == 0 and "too few" in found.conclusion


def test_maps_that_change_their_mind_are_refused() -> None:
    net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1)).train()
    with pytest.raises(InvalidSetting, match="from call to call"):
        discover(lambda x: net(x), normal(100, 2).float(), "GL(2) on vector -> scalar")
    with pytest.raises(InvalidSetting, match="other samples"):
        discover(lambda x: x - x.mean(0), normal(100, 2), "GL(2) on vector -> same")


def test_a_pair_of_inputs_and_targets_is_taken_apart() -> None:
    x = normal(200, 2)
    assert discover(lambda x: x.norm(dim=1), (x, -x), "GL(2) on vector -> scalar").spectrum.samples == 200
    for data, words in ((x.numpy(), "from_numpy"), (TensorDataset(x), "DataLoader")):
        with pytest.raises(InvalidSetting, match=words):
            discover(lambda x: x.norm(dim=1), data, "GL(2) on vector -> scalar")


def test_answers_without_numbers_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="logits instead of"):
        discover(lambda x: x.argmax(1), normal(50, 2), "GL(2) on vector -> scalar")
    with pytest.raises(InvalidSetting, match="NaN or infinite"):
        discover(lambda x: (x - x).sqrt().sum(1) / 0.0, normal(50, 2), "GL(2) on vector -> scalar")


def test_the_best_direction_is_told_where_none_holds() -> None:
    found = discover(lambda x: x[:, 0] + x[:, 1] ** 3, normal(300, 2), "SO(2) on vector -> scalar")
    assert found.verdict == "absent" and found.spectrum.declared == 0 and found.canonical.shape[0] == 0
    assert "rotation" in found.conclusion and found.generators[0].verdict == "violated"


def test_reading_with_another_bound_needs_no_second_pass() -> None:
    x = normal(600, 2)
    gram = GeneratorGram("GL(2) on vector -> scalar")
    f = lambda x: x.norm(dim=1) + 0.05 * x[:, 0]  # noqa: E731
    gram.update(f, x)
    strict, loose = (read_generators(gram, f, x, delta).spectrum.declared for delta in (0.01, 0.2))
    assert (strict, loose) == (0, 1)
