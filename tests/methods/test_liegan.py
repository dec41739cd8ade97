"""LieGAN: the published game, without what misleads in it, against known truths."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_symmetry.callbacks import Expect, LearnableAugmentation
from lightning_symmetry.data import RepeatedSectors, TwoBody
from lightning_symmetry.discovery import Discovery
from lightning_symmetry.exceptions import SymmetryError, UnsupportedTrainer
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.spans import principal_cosines
from lightning_symmetry.groups import SO, Given, Learned
from lightning_symmetry.lightning_cli import SymmetryCLI
from lightning_symmetry.methods import liegan
from lightning_symmetry.methods.liegan import Discriminator, LieGAN, Objective, measure_spread, module
from lightning_symmetry.methods.liegan.discriminator import lay_flat
from lightning_symmetry.methods.liegan.evidence import Samples, area_under_curve
from lightning_symmetry.methods.liegan.identify import data_span, represent
from lightning_symmetry.methods.liegan.objective import (
    fool,
    list_vectors,
    penalise_alike,
    penalise_identity,
    tell,
)
from lightning_symmetry.methods.liegan.verdict import conclude, violations_of
from lightning_symmetry.samplers import Integers, Normal, Uniform
from lightning_symmetry.symmetry import Symmetry


@pytest.fixture(autouse=True)
def without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than a tiny game; the slow tests keep it."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(module, "write_report", lambda found, folder, samples: found.save(folder))


PLANE = "learned(1) on vector(2) -> vector(2)"
TURN = torch.tensor([[0.0, -1.0], [1.0, 0.0]])


def make_trainer(folder: Path, epochs: int = 1, **settings: Any) -> Trainer:
    return Trainer(
        **{
            "max_epochs": epochs,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": folder,
            **settings,
        }
    )


def make_pairs(rows: int = 64) -> tuple[Tensor, Tensor]:
    """Isotropic vectors of the plane, and twice the same: turning both is a symmetry."""
    x = Rng(5).normal(rows, 4)
    return x, 2 * x


def make_loader(*tensors: Tensor) -> DataLoader:
    return DataLoader(TensorDataset(*(tensors or make_pairs())), batch_size=16)


def make_game(symmetry: Any = PLANE, **settings: Any) -> LieGAN:
    """One that is over in no time."""
    usual = {"discriminator": Discriminator(hidden=[8]), "seeds": 2, "evidence_steps": 2}
    law = Normal(Symmetry.of(symmetry).group, learnable=False)
    stated = Symmetry.of(symmetry)
    return LieGAN(Symmetry(law, stated.input, stated.output, "pairs"), **{**usual, **settings})


def bound(sentence: str, x: Any, y: Any, weight: Tensor | None = None) -> Symmetry:
    stated = Symmetry.of(sentence)
    symmetry = Symmetry(Normal(stated.group, learnable=False), stated.input, stated.output, "pairs").bind(x, y)
    if weight is not None:
        symmetry.group.weight.data.copy_(weight)
    return symmetry


# ---------------------------------------------------------------- the published formulas


def test_the_game_is_binary_cross_entropy() -> None:
    real, fake = Rng(0).normal(2, 50).unbind()
    ones, zeros = torch.ones(50), torch.zeros(50)
    assert float(fool(fake)) == pytest.approx(float(F.binary_cross_entropy(fake.sigmoid(), ones)), rel=1e-5)
    both = F.binary_cross_entropy(real.sigmoid(), ones) + F.binary_cross_entropy(fake.sigmoid(), zeros)
    assert float(tell(real, fake)) == pytest.approx(float(both) / 2, rel=1e-5)


def test_the_cosine_is_that_of_every_frame() -> None:
    x = Rng(0).normal(20, 12)
    symmetry = bound("learned(1) on vector(3) -> scalar", x, torch.zeros(20, 1))
    moved = symmetry.move_input(symmetry.sample(x, 1, Rng(1))[0], x)
    cosines = []
    for old, new in zip(x.reshape(20, 4, 3), moved.reshape(20, 4, 3), strict=True):
        for a, b in zip(old, new, strict=True):
            cosines.append(float((a @ b / a.norm() / b.norm()).detach()))
    vectors = list_vectors(symmetry, x), list_vectors(symmetry, moved)
    value = float(penalise_identity(*vectors, symmetry.group).detach())
    assert value == pytest.approx(abs(sum(cosines) / len(cosines)), rel=1e-4)
    per_sample = float(penalise_identity(*vectors, symmetry.group, per_sample=True).detach())
    assert per_sample == pytest.approx(sum(map(abs, cosines)) / len(cosines), rel=1e-4)


@pytest.mark.parametrize("size", [0.1, 10.0])
def test_the_other_identity_penalties_are_bounded(size: float) -> None:
    x = Rng(0).normal(20, 2)
    x[0, 0] = 0.0  # where the published quotient does not exist
    moved = x * (1 + size)
    group = Learned(2, count=3, affine=False, scale=size)
    assert float(penalise_identity([x[:, None]], [moved[:, None]], group, "rel_diff")) == pytest.approx(-min(size, 1))
    norm = group.basis().square().sum().sqrt()
    assert float(penalise_identity([x], [x], group, "norm").detach()) == pytest.approx(
        -min(float(norm.detach()), 2 * 3)
    )


def test_scalings_are_invisible_to_the_cosine_and_visible_to_the_norm() -> None:
    x = Rng(0).normal(20, 2)
    symmetry = bound(PLANE, x, x, torch.eye(2)[None])
    moved = symmetry.move_input(symmetry.sample(x, 1, Rng(1))[0], x)
    vectors = list_vectors(symmetry, x), list_vectors(symmetry, moved)
    for kind, visible in (("cosine", False), ("norm", True)):
        (slope,) = torch.autograd.grad(
            penalise_identity(*vectors, symmetry.group, kind), symmetry.group.weight, retain_graph=True
        )
        # rounding of a cosine that is 1
        assert (float((slope * torch.eye(2)).sum().abs()) > 1e-4) is visible


def test_cosines_of_either_sign_cancel_unless_each_is_measured() -> None:
    x = Rng(0).normal(20, 1, 2)
    signs = torch.tensor([1.0, -1.0]).repeat(10)[:, None, None]
    group = Learned(2, affine=False)
    assert float(penalise_identity([x], [x * signs], group)) < 1e-6
    assert float(penalise_identity([x], [x * signs], group, per_sample=True)) == pytest.approx(1)


def test_channels_are_scaled_before_they_are_compared() -> None:
    group = Learned(4, count=3, affine=False, blocks=2)
    basis = [matrix * 2 / matrix.norm() for matrix in group.basis()]  # sqrt(4)
    inner = sum(abs(float((basis[i] * basis[j]).sum())) for i in range(3) for j in range(i + 1, 3))
    killing = sum(
        abs(float((basis[i] @ basis[j]).trace() - basis[i].trace() * basis[j].trace() / 4))
        for i in range(3)
        for j in range(i + 1, 3)
    )
    assert float(penalise_alike(group)) == pytest.approx(inner, rel=1e-4)
    assert float(penalise_alike(group, "killing")) == pytest.approx(killing, rel=1e-4)
    with torch.no_grad():
        group.weight.mul_(1e-3)
    # 1e-6 beside norms of a few thousandths
    assert float(penalise_alike(group)) == pytest.approx(inner, rel=1e-2)


def test_terms_have_their_strengths() -> None:
    x, y = make_pairs()
    symmetry = bound("learned(2) on vector(2) -> vector(2)", x, y)
    moved = symmetry.move_input(symmetry.sample(x, 1, Rng(0))[0], x)
    single = Objective(sparsity=1.0, order=1).penalise(symmetry, x, moved, 0.0)
    doubled = Objective(identity_strength=2, channel_strength=2, sparsity=2, order=1).penalise(symmetry, x, moved, 0.0)
    assert set(single) == {"identity", "channels", "sparsity"}
    for name, value in single.items():
        assert float(doubled[name]) == pytest.approx(2 * float(value))
    assert float(single["sparsity"]) == pytest.approx(float(symmetry.group.basis().abs().sum()), rel=1e-5)
    nothing = Objective(identity_strength=0, channel_strength=0).penalise(symmetry, x, moved, 0.0)
    assert not nothing


def test_the_identity_penalty_fades_where_it_would_bend_an_element() -> None:
    x, y = make_pairs()
    symmetry = bound(PLANE, x, y)
    moved = symmetry.move_input(symmetry.sample(x, 1, Rng(0))[0], x)
    values = [Objective(fade=True).penalise(symmetry, x, moved, p).get("identity") for p in (0.0, 0.25, 0.5, 0.75)]
    assert float(values[0]) == float(values[1]) == pytest.approx(2 * float(values[2]))
    assert values[3] is None


# ---------------------------------------------------------------- what misleads in it


def test_the_discriminator_sees_normalised_copies() -> None:
    x, y = make_pairs()
    pair = (x * 1e4 + 3e5, y)
    kept = [t.clone() for t in pair]
    net = Discriminator(hidden=[8]).build(8, 0, seed=0).calibrate(pair)
    numbers = net.normalise(lay_flat(pair)[0])
    torch.testing.assert_close(numbers.mean(0), torch.zeros(8), atol=1e-3, rtol=0)  # single precision of 3e5
    torch.testing.assert_close(numbers.std(0, unbiased=False), torch.ones(8), atol=1e-3, rtol=0)
    assert all(torch.equal(a, b) for a, b in zip(pair, kept, strict=True))


def test_a_number_that_never_varies_is_not_blown_up() -> None:
    x = torch.cat([Rng(0).normal(50, 1) * 3, torch.full((50, 1), 7.0)], 1)
    net = Discriminator(hidden=[8]).build(2, 0, seed=0).calibrate((x, ()))
    assert net.normalise(x)[:, 1].abs().max() < 1e-6
    assert float(net.normalise(x + 1)[:, 1].abs().max()) < 2


class Watching(LightningDataModule):
    """Deals one batch again and again, and keeps what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = make_pairs(32)
        self.kept = [t.clone() for t in self.pair]

    def train_dataloader(self) -> Any:
        return DataLoader([self.pair] * 3, batch_size=None)


def test_batches_are_left_as_they_are(tmp_path: Path) -> None:
    data = Watching()
    make_trainer(tmp_path).fit(make_game(), datamodule=data)
    for now, before in zip(data.pair, data.kept, strict=True):
        assert now.shape == before.shape and torch.equal(now, before)


@pytest.mark.parametrize("r1", [0.0, 0.5])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_neither_side_leaves_a_gradient_in_the_other(r1: float, spectral_norm: bool, tmp_path: Path) -> None:
    game = make_game(
        seeds=1, objective=Objective(r1=r1), discriminator=Discriminator(hidden=[8], spectral_norm=spectral_norm)
    )
    trainer = make_trainer(tmp_path)
    seen: list[tuple[bool, bool]] = []

    def watch(*_: Any) -> None:
        sides = (game.games[0].symmetry, game.games[0].discriminator)
        seen.append(tuple(any(p.grad is not None for p in side.parameters()) for side in sides))

    configure = game.configure_optimizers

    def configure_watched() -> Any:
        made = configure()
        for optimizer in made:
            optimizer.register_step_pre_hook(watch)
        return made

    game.configure_optimizers = configure_watched
    trainer.fit(game, make_loader())
    # generators first, then the discriminator
    assert seen == [(True, False), (False, True)] * 4


def test_each_side_steps_by_its_own_loss(tmp_path: Path) -> None:
    """One batch against plain torch: the generators' slope with the discriminator of before, and then the other's."""
    game = make_game(seeds=1, seed=3)
    x, y = make_pairs(16)
    before: dict[str, Tensor] = {}
    step = game.training_step

    def training_step(batch: Any, batch_idx: int) -> None:
        before.update({key: value.clone() for key, value in game.state_dict().items()})
        step(batch, batch_idx)

    game.training_step = training_step
    make_trainer(tmp_path).fit(game, make_loader(x, y))
    after = {key: value.clone() for key, value in game.state_dict().items()}
    game.load_state_dict(before)
    (one,) = game.games
    g, _ = one.symmetry.sample(x, 1, Rng(one.seed, 0))
    moved = one.symmetry.move_input(g, x), one.symmetry.move_output(g, y)
    cosine = F.cosine_similarity(moved[0].reshape(-1, 2), x.reshape(-1, 2)).mean().abs()
    losses = {
        "symmetry": (fool(one.discriminator.judge(moved)) + cosine, game.lr),
        "discriminator": (
            tell(one.discriminator.judge((x, y)), one.discriminator.judge(tuple(t.detach() for t in moved))),
            game.lr_discriminator,
        ),
    }
    for side, (loss, lr) in losses.items():
        named = dict(getattr(one, side).named_parameters())
        slopes = torch.autograd.grad(loss, list(named.values()))
        for (name, parameter), slope in zip(named.items(), slopes, strict=True):
            change = after[f"games.0.{side}.{name}"] - parameter
            # Adam's first step is the sign of the slope, where its epsilon does not count
            large = slope.abs() > 1e-4
            torch.testing.assert_close(change[large], -lr * slope.sign()[large], atol=1e-2 * lr, rtol=0)


@pytest.mark.parametrize(("blocks", "same"), [(2, True), (4, False)])
def test_generators_are_told_on_the_span_of_the_data(blocks: int, same: bool) -> None:
    data = TwoBody(samples=50, drift=0.0)
    data.setup("fit")
    x, y = data.parts["train"].x, data.parts["train"].y
    symmetry = bound(f"learned(2, blocks={blocks}) on vector -> vector", x, y)
    basis, mask = symmetry.group.basis().detach().double(), symmetry.group.pattern()
    span = data_span(symmetry, x, y)
    torch.testing.assert_close(span @ span, span)
    assert float(span.trace()) == pytest.approx(4)
    told = represent(basis, span, mask)
    assert float((told * (1 - mask)).abs().max()) == 0
    states = torch.cat([x, y]).double()
    torch.testing.assert_close(states @ told.mT, states @ basis.mT, atol=1e-5, rtol=0)  # of single-precision data
    # blocks of one body are determined, blocks of both are not
    assert torch.allclose(told, basis, atol=1e-6) is same
    assert bool((told.norm(dim=(1, 2)) <= basis.norm(dim=(1, 2)) + 1e-9).all())


def test_data_that_fill_the_space_say_everything() -> None:
    x, y = make_pairs()
    assert data_span(bound(PLANE, x, y), x, y) is None


def test_spread_is_the_largest_angle_between_spans() -> None:
    space = SO(3).bind(3).basis()
    mixed = torch.linalg.qr(Rng(0).normal(3, 3))[0]
    assert measure_spread([space, torch.einsum("kl,lij->kij", mixed, space)]) < 0.1
    tilted = [math.cos(a) * TURN + math.sin(a) * torch.eye(2) for a in (0.0, 0.2, -0.3)]
    assert measure_spread([t[None] for t in tilted]) == pytest.approx(math.degrees(0.5), rel=1e-4)
    assert measure_spread([space, space[:2]]) == pytest.approx(90)


# ---------------------------------------------------------------- evidence


def test_the_area_under_the_curve_counts_pairs() -> None:
    real, fake = Rng(0).integers(6, 30).float(), Rng(1).integers(6, 20).float() - 1
    wins = [float(a > b) + 0.5 * float(a == b) for a in real for b in fake]
    assert area_under_curve(real, fake) == pytest.approx(sum(wins) / len(wins))


def make_samples() -> Samples:
    x = Rng(1).normal(3000, 4)
    halves = [(x[part], 2 * x[part]) for part in (slice(0, 2000), slice(2000, None))]
    return Samples(*halves, Discriminator(hidden=[32]), 60, 0)


def test_repeated_channels_are_found_by_their_rank() -> None:
    samples = make_samples()
    symmetry = bound("learned(2) on vector(2) -> vector(2)", *samples.train, torch.stack([TURN, -3 * TURN]))
    found, metrics = conclude(symmetry, samples, violations_of(symmetry, samples), TURN[None], None, {}, "validation")
    assert found.verdict == "symmetric" and len(found.accepted) == 2
    assert found.canonical_names == ("rotation",) and metrics["rank"] == 1
    assert any("1 of them repeat others" in note for note in found.notes)
    assert found.cosine == pytest.approx(1) and metrics["auc"] < 0.55


def test_what_does_not_hold_and_what_does_not_move_are_refused() -> None:
    samples = make_samples()
    squeeze = torch.diag(torch.tensor([1.0, -1.0]))
    symmetry = bound("learned(2) on vector(2) -> vector(2)", *samples.train, torch.stack([squeeze, 0 * TURN]))
    found, metrics = conclude(symmetry, samples, violations_of(symmetry, samples), TURN[None], 3.0, {}, "training")
    assert [g.verdict for g in found.generators] == ["violated", "spare"]
    assert found.verdict == "absent" and metrics["auc"] > 0.6 and metrics["spread"] == 3.0


# ---------------------------------------------------------------- the seam


def test_one_fit_publishes_its_metrics_before_claims_are_read(tmp_path: Path) -> None:
    claims = [Expect(f"symmetry/pairs/{key}", at_most=1.01) for key in ("auc", "cosine", "discriminator_auc")]
    claims.append(Expect("symmetry/pairs/spread", at_most=90))

    class Known(LightningDataModule):
        def train_dataloader(self) -> Any:
            return make_loader()

        def val_dataloader(self) -> Any:
            return make_loader()

        def truth(self) -> Symmetry:
            return Symmetry.parse("SO(2) on vector(2) -> vector(2)")

    game = make_game()
    make_trainer(tmp_path, callbacks=claims).fit(game, datamodule=Known())
    assert all(claim.measured is not None for claim in claims)
    assert game.discovery is not None and game.discovery.held_out == "validation"
    # what was written is accepted by a callback
    folder = tmp_path / "symmetry" / "pairs"
    loaded, stated = Discovery.load(folder), LearnableAugmentation(str(folder)).symmetries[0]
    assert loaded.verdict == game.discovery.verdict
    torch.testing.assert_close(stated.group.basis(), game.discovery.symmetry.group.basis())


@pytest.mark.parametrize("end", [{"max_steps": 6}, {"max_epochs": 2}, {"max_epochs": -1, "max_steps": 10}])
def test_the_verdict_is_published_however_training_ends(end: dict[str, int], tmp_path: Path) -> None:
    claim = Expect("symmetry/pairs/auc", at_most=1)
    make_trainer(tmp_path, **{"max_epochs": 5, "callbacks": [claim], **end}).fit(make_game(), make_loader())
    assert claim.measured is not None


def test_no_validation_sets_half_of_the_pairs_aside(tmp_path: Path) -> None:
    game = make_game()
    make_trainer(tmp_path).fit(game, make_loader())
    assert game.discovery is not None and game.discovery.held_out == "training"


def test_a_resumed_run_ends_where_a_straight_one_does(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    straight, resumed = make_game(), make_game()
    make_trainer(tmp_path, 3, enable_checkpointing=True, callbacks=[keep]).fit(straight, make_loader())
    torch.manual_seed(1)
    make_trainer(tmp_path, 3).fit(resumed, make_loader(), ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=None)
    for (name, a), b in zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert straight.updates == 12


def test_a_checkpoint_is_read_without_data(tmp_path: Path) -> None:
    game = make_game()
    trainer = make_trainer(tmp_path)
    trainer.fit(game, make_loader())
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    checkpoint = torch.load(tmp_path / "end.ckpt", weights_only=True)
    again = make_game()
    again.on_load_checkpoint(checkpoint)
    again.load_state_dict(checkpoint["state_dict"])
    x, _ = make_pairs()
    for one, other in zip(game.games, again.games, strict=True):
        g = other.symmetry.bind(*make_pairs()).sample(x, 1, Rng(0))[0]
        assert torch.equal(g.linear, one.symmetry.sample(x, 1, Rng(0))[0].linear)


def test_torch_random_numbers_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    # its loader takes no seed from them either
    loader = DataLoader(TensorDataset(*make_pairs()), batch_size=16, generator=torch.Generator().manual_seed(0))
    make_trainer(tmp_path).fit(make_game(), loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_rest_ends_the_training(tmp_path: Path) -> None:
    x = Rng(0).normal(64, 4)
    game = make_game(seeds=1, lr=1e-9, lr_discriminator=1e-9, discriminator=Discriminator(hidden=[4]), scale=1e-6)
    trainer = make_trainer(tmp_path, 20)
    trainer.fit(game, make_loader(x, 2 * x), make_loader(x, 2 * x))
    # the first validation has nothing before it
    assert trainer.current_epoch == 4
    patient = make_game(seeds=1, lr=1e-9, lr_discriminator=1e-9, scale=1e-6, early_stop=False)
    trainer = make_trainer(tmp_path, 6)
    trainer.fit(patient, make_loader(x, 2 * x), make_loader(x, 2 * x))
    assert trainer.current_epoch == 6


def test_labels_and_bare_inputs_are_pairs_too(tmp_path: Path) -> None:
    x = Rng(0).normal(64, 4)
    labels = Rng(1).integers(3, 64)
    game = make_game("learned(1) on vector(2) -> label")
    make_trainer(tmp_path).fit(game, make_loader(x, labels))
    assert game.games[0].discriminator.embed is not None and game.discovery is not None
    alone = make_game("learned(1) on vector(2) -> scalar")
    make_trainer(tmp_path).fit(alone, DataLoader(x, batch_size=16))
    assert alone.discovery is not None


def test_presets_and_laws() -> None:
    general, discrete = liegan(PLANE), liegan(PLANE, preset="discrete")
    assert isinstance(general.sought.sampler, Normal) and not general.objective.fade
    assert general.sought.sampler.settings["learnable"] is False
    assert isinstance(discrete.sought.sampler, Integers) and discrete.objective.fade
    assert isinstance(liegan(PLANE, law="uniform").sought.sampler, Uniform)
    own = Symmetry(Uniform(Learned(count=2), width=0.3), "vector", "vector", "mine")
    assert liegan(own).sought is own and liegan(own).name == "mine"


def test_the_command_line_knows_it_by_its_short_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--model", "liegan", "--model.symmetry", PLANE, "--data", "TwoBody", "--trainer.logger", "false"]
    cli = SymmetryCLI(words, "test", run=False, auto_configure_optimizers=False)
    assert isinstance(cli.model, LieGAN) and isinstance(cli.model, LightningModule)


# ---------------------------------------------------------------- what people get wrong


@pytest.mark.parametrize(
    ("word", "make"),
    [
        ("'tiny'", lambda: liegan(PLANE, preset="tiny")),
        ("'cauchy'", lambda: liegan(PLANE, law="cauchy")),
        ("identity='sine'", lambda: liegan(PLANE, identity="sine")),
        ("channels='outer'", lambda: liegan(PLANE, channels="outer")),
        ("identity_strength=-1", lambda: liegan(PLANE, identity_strength=-1)),
        ("order=0.5", lambda: Objective(order=0.5)),
        ("lr=0", lambda: liegan(PLANE, lr=0)),
        ("seeds=0", lambda: liegan(PLANE, seeds=0)),
        ("hidden=\\[\\]", lambda: liegan(PLANE, hidden=[])),
        ("hidden=\\[0\\]", lambda: liegan(PLANE, hidden=[0])),
        ("learns widths", lambda: liegan("SO(2) on vector -> vector")),
        ("learns widths", lambda: LieGAN(Symmetry(Normal(Learned(count=1)), "vector", "vector"))),
        ("an action is learnt", lambda: liegan("vector(2) -> learned")),
        ("one '->'", lambda: liegan("vector")),
        ("a network of laws", lambda: liegan(Path("a network of laws.yaml"))),
    ],
)
def test_senseless_settings_are_refused(word: str, make: Any) -> None:
    with pytest.raises(SymmetryError, match=word):
        make()


def test_several_devices_are_refused() -> None:
    game = make_game()
    game._trainer = SimpleNamespace(world_size=2)
    with pytest.raises(UnsupportedTrainer, match="2 devices.*devices=1"):
        game.setup("fit")


@pytest.mark.parametrize(
    ("word", "loader"),
    [
        ("NaN", lambda: make_loader(torch.full((16, 4), math.nan), torch.zeros(16, 2))),
        ("a multiple of 2", lambda: make_loader(torch.zeros(16, 3), torch.zeros(16, 2))),
        ("without a batch", lambda: DataLoader(TensorDataset(torch.zeros(0, 4), torch.zeros(0, 2)))),
        ("0 tensors that could be the output's", lambda: DataLoader(torch.zeros(16, 4), batch_size=8)),
        ("one row a sample", lambda: DataLoader([(torch.ones(8, 4), torch.ones(4, 2))], batch_size=None)),
    ],
)
def test_data_that_are_no_pairs_are_refused_before_training(word: str, loader: Any, tmp_path: Path) -> None:
    game = make_game()
    with pytest.raises(SymmetryError, match=word):
        make_trainer(tmp_path).fit(game, loader())
    assert not game.updates


# ---------------------------------------------------------------- known truths


def learn(game: LieGAN, data: Any, epochs: int, folder: Path) -> dict[str, float]:
    trainer = make_trainer(folder, epochs, check_val_every_n_epoch=max(epochs // 5, 1))
    trainer.fit(game, datamodule=data)
    return {key.rpartition("/")[2]: float(value) for key, value in trainer.callback_metrics.items()}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_two_bodies_turn(seed: int, tmp_path: Path) -> None:
    game = liegan("learned(1, blocks=2) on vector -> vector", seeds=1, seed=seed, name="bodies")
    found = learn(game, TwoBody(batch_size=64, seed=seed), 20, tmp_path)
    assert found["cosine"] > 0.999 and found["auc"] < 0.55
    assert game.discovery.canonical_names == ("rotation of 4 planes together",)


@pytest.mark.slow
def test_bodies_in_the_frame_of_their_centre_are_compared_where_there_are_data(tmp_path: Path) -> None:
    game = liegan("learned(1, blocks=4) on vector -> vector", seeds=1, name="bodies")
    found = learn(game, TwoBody(batch_size=64, drift=0.0), 20, tmp_path)
    # as published: 0.70 everywhere, and 0.9999 on the four dimensions that the data fill
    assert found["cosine"] > 0.999 and found["cosine_everywhere"] < 0.95
    assert any("fill 4 of 8 dimensions" in note for note in game.discovery.notes)


class Ellipsoid(LightningDataModule):
    """Normal vectors of covariance diag(1, 2, 3), with nothing beside them."""

    spread = torch.tensor([1.0, 2.0, 3.0]).sqrt()

    def train_dataloader(self) -> Any:
        return DataLoader(Rng(0).normal(4000, 3) * self.spread, batch_size=64)

    def val_dataloader(self) -> Any:
        return DataLoader(Rng(1).normal(2000, 3) * self.spread, batch_size=500)

    def truth(self) -> Symmetry:
        return Symmetry(Given(self.spread[:, None] * SO(3).bind(3).basis() / self.spread), "vector", "scalar")


@pytest.mark.slow
def test_an_ellipsoid_turns_along_itself_and_not_along_the_sphere(tmp_path: Path) -> None:
    settings = {"lr": 1e-2, "lr_discriminator": 3e-3, "channel_strength": 0.1}
    game = liegan("learned(3) on vector -> scalar", seeds=1, name="ellipsoid", **settings)
    found = learn(game, Ellipsoid(), 25, tmp_path)
    assert found["accepted"] == found["rank"] == 3 and found["cosine"] > 0.98
    # the rotations of space lie 26 degrees away
    sphere = float(principal_cosines(game.discovery.canonical, SO(3).bind(3).basis())[-1])
    assert sphere < 0.95


@pytest.mark.slow
def test_seven_sectors_give_an_element_of_order_seven(tmp_path: Path) -> None:
    game = liegan("learned(1) on vector -> scalar", preset="discrete", seeds=1, name="turns")
    found = learn(game, RepeatedSectors(batch_size=128), 14, tmp_path)
    assert found["symmetric"] == 1 and found["cosine"] > 0.99
    element = torch.linalg.matrix_exp(game.games[0].symmetry.group.basis()[0].detach().double())
    for k in range(1, 7):
        power = torch.linalg.matrix_power(element, k)
        angle = math.degrees(math.atan2(power[1, 0] - power[0, 1], power[0, 0] + power[1, 1]))
        # an angle that is off by d degrees is off by k d after k turns
        assert abs(angle - 360 / 7 * round(angle / (360 / 7))) < 1.0 * max(1, k / 2)
        # a whole number of sectors, and never none: seven is a prime
        assert round(angle / (360 / 7)) % 7
