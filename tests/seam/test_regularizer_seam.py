"""Strengths that tune themselves: resumed exactly, learnt once a batch, and off where they are off."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.tuner import Tuner
from torch import Tensor, nn

from lightning_symmetry.balancing import Balancer, Dual, Fixed
from lightning_symmetry.callbacks import EquivarianceRegularizer
from lightning_symmetry.callbacks.gradients import take_gradients
from lightning_symmetry.exceptions import InvalidSetting, NoGradient
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import (
    Gap,
    Host,
    ManualHost,
    close,
    deal,
    fit,
    make_callback,
    make_data,
    make_loader,
    make_net,
    make_noisy_net,
    make_trainer,
    own_weights,
    same,
    weights,
)
from tests.seam.regularized import BALANCERS, CANDIDATES, MEASURES, learnt, make_regularizer, strengths
from tests.seam.support.hosts import Data, Plain
from tests.seam.test_resume import StatefulLoader

# every balancer, every measure, and not each with each
PAIRS = [*((balance, "answers") for balance in BALANCERS), *(("dual", measure) for measure in MEASURES)]
PAIRS += [("ratio", "several"), ("gradnorm", "feature"), ("gradnorm", "weights"), ("uncertainty", "infinitesimal")]


class LossHost(ManualHost):
    """Optimizes by hand and returns its loss, which some balancers ask for."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        loss = self.note(F.mse_loss(self.net(x), y))
        self.optimizers().zero_grad()
        self.manual_backward(loss)
        self.optimizers().step()
        return loss.detach()


def assert_same_end(
    left: tuple[Host, EquivarianceRegularizer], right: tuple[Host, EquivarianceRegularizer], exactly: bool = True
) -> None:
    equal = same if exactly else close
    assert equal(weights(left[0]), weights(right[0])) and equal(learnt(left[1]), learnt(right[1]))
    assert left[1].step == right[1].step
    curves = [{k: v for k, v in callback.journal.curves.items() if "strength" in k} for _, callback in (left, right)]
    assert not exactly or repr(curves[0]) == repr(curves[1])


# -------------------------------------------------------------------------------------------- resume


@pytest.mark.parametrize(("balance", "measure"), dict.fromkeys(PAIRS))
@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_run_is_resumed_in_the_middle_of_an_epoch(balance: str, measure: str, batch: int) -> None:
    """Every window of a balancer is open at one of the two, and turns are in the midst of a cycle."""
    settings = {"enable_checkpointing": True, "log_every_n_steps": 1, "max_epochs": 2}
    whole, callback = Host(), make_regularizer(balance, measure)
    saving = ModelCheckpoint(dirpath="saved", every_n_train_steps=1, save_top_k=-1, filename="{step}")
    fit(whole, callback, saving, data=StatefulLoader(), **settings)
    resumed, other = Host(), make_regularizer(balance, measure)
    fit(resumed, other, data=StatefulLoader(), ckpt=f"saved/step={batch}.ckpt", **settings)
    assert len(resumed.losses) == 8 - batch
    assert_same_end((whole, callback), (resumed, other))
    early = torch.load(f"saved/step={batch}.ckpt", weights_only=True)["callbacks"][callback.state_key]["objective"]
    assert repr(early) != repr(dict(callback.objective.state_dict()))


@pytest.mark.parametrize("balance", ["ratio", "dual", "uncertainty", "gradnorm"])
def test_names_resume_as_well(balance: str) -> None:
    """With the defaults, whose windows are shares of the training."""
    settings = {"enable_checkpointing": True, "log_every_n_steps": 1, "max_epochs": 3}
    whole, callback = Host(), EquivarianceRegularizer(CANDIDATES, balance=balance)
    saving = ModelCheckpoint(dirpath="saved", every_n_train_steps=3, save_top_k=-1, filename="{step}")
    fit(whole, callback, saving, data=StatefulLoader(), **settings)
    assert len(set(callback.journal.curves[f"{callback.symmetries[0].name}/strength"])) > 1
    resumed, other = Host(), EquivarianceRegularizer(CANDIDATES, balance=balance)
    fit(resumed, other, data=StatefulLoader(), ckpt="saved/step=3.ckpt", **settings)
    assert_same_end((whole, callback), (resumed, other))


def test_another_balancer_does_not_take_over_a_checkpoint() -> None:
    fit(Host(), make_regularizer("ratio")).save_checkpoint("ratio.ckpt")
    for other in (make_regularizer("dual"), make_regularizer("ratio", "several"), make_regularizer(0.5)):
        with pytest.raises(InvalidSetting, match="other losses or another balance"):
            fit(Host(), other, ckpt="ratio.ckpt", max_epochs=2)


# -------------------------------------------------------------------------------------------- off, and no trace


@pytest.mark.parametrize("kind", [Host, ManualHost])
@pytest.mark.parametrize("measure", MEASURES)
def test_off_is_bit_identical(measure: str, kind: type[Host]) -> None:
    runs = []
    for made in ([], [make_regularizer(0.0, measure)]):
        torch.manual_seed(7)
        host = kind(make_net() if "weights" in measure or measure == "several" else make_noisy_net())
        fit(host, *made, val=make_loader(2, seed=5))
        runs.append((weights(host), host.losses, torch.get_rng_state().tolist()))
        assert not {"training_step", "forward"} & vars(host).keys() and "forward" not in vars(host.net)
        host.trainer = None
        pickle.dumps(host)
        copy.deepcopy(host)
    assert same(runs[0][0], runs[1][0]) and runs[0][1:] == runs[1][1:]


class Looking(Balancer):
    """Measures and never presses."""

    measures = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def strengths(self, terms: int, step: int) -> list[float]:
        return [0.0] * terms

    def track(self, values: Tensor, step: int) -> None:
        self.seen.append(values)


@pytest.mark.parametrize("kind", [Host, ManualHost])
@pytest.mark.parametrize("measure", MEASURES)
def test_what_is_only_measured_changes_no_bit(measure: str, kind: type[Host]) -> None:
    runs, looking = [], Looking()
    for made in ([], [make_regularizer(looking, measure)]):
        torch.manual_seed(7)
        # what lies before batch norm and dropout has the names that the losses look for
        net = make_net() if "weights" in measure or measure == "several" else make_noisy_net()
        host = kind(net)
        fit(host, *made)
        runs.append((weights(host), host.losses, torch.get_rng_state().tolist()))
    assert same(runs[0][0], runs[1][0]) and runs[0][1:] == runs[1][1:]
    assert len(looking.seen) == 4 and all(values.isfinite().any() for values in looking.seen)


def test_multipliers_at_zero_change_no_bit() -> None:
    """Every constraint holds, so that the dual never rises."""
    plain, host = Host(), Host()
    callback = make_regularizer(Dual(1e6, rate=1.0, warmup=0))
    for one, made in ((plain, []), (host, [callback])):
        fit(one, *made, max_epochs=2)
    assert strengths(callback) == [0.0, 0.0] and (callback.balance.slack < 0).all()
    assert same(weights(plain), weights(host))


# -------------------------------------------------------------------------------------------- what counts as a batch


class Newton(Host):
    def __init__(self) -> None:
        super().__init__(make_net().double())
        self.calls = 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.calls += 1
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.5, max_iter=4)


@pytest.mark.parametrize("balance", BALANCERS)
def test_a_closure_counts_once(balance: str) -> None:
    """Its first evaluation, at the weights before the step: what another run without steps from there measures."""
    data = [(x.double(), y.double()) for x, y in make_data()]
    host, callback = Newton(), make_regularizer(balance)
    told = []
    track = type(callback.balance).track
    callback.balance.track = lambda values, step: (told.append((step, values)), track(callback.balance, values, step))
    fit(host, callback, data=deal(data))
    assert [step for step, _ in told] == [0, 1, 2, 3] and host.calls > 8

    class Still(Newton):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    still, first = Still(), make_regularizer(Looking())
    fit(still, first, data=deal(data[:1]))
    assert torch.allclose(first.balance.seen[0], told[0][1], equal_nan=True)


@pytest.mark.parametrize("balance", BALANCERS)
def test_accumulation_and_sparse_batches(balance: str) -> None:
    """Every n-th batch is measured; strengths hold for as many batches as they were meant for."""
    callback = make_regularizer(balance, every_n_steps=2)
    seen = []
    track = type(callback.balance).track
    callback.balance.track = lambda values, step: (seen.append(step), track(callback.balance, values, step))
    fit(Host(), callback, data=make_loader(8), accumulate_grad_batches=3)
    assert seen == [0, 2, 4, 6] and callback.step == 8
    assert all(value > 0 for value in strengths(callback))


def test_a_value_that_is_not_a_number_is_not_learnt_from() -> None:
    """The second batch is spoilt; a module that skips it goes on, and so does the balancer."""

    class Careful(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
            loss = super().training_step(batch, batch_idx)
            return loss if bool(loss.isfinite()) else None

    data = make_data(6)
    data[1] = (data[1][0] * torch.nan, data[1][1])
    for balance in BALANCERS:
        host, callback = Careful(), make_regularizer(balance, together=True)
        fit(host, callback, data=deal(data))
        assert all(v.isfinite().all() for v in weights(host).values())
        assert all(0 < value < 1e6 for value in strengths(callback)), balance


# -------------------------------------------------------------------------------------------- manual optimization


@pytest.mark.parametrize("balance", [name for name in BALANCERS if name != "gradnorm"])
def test_manual_optimization_is_the_same_training(balance: str) -> None:
    runs = []
    for kind in (Host, LossHost):
        host, callback = kind(), make_regularizer(balance)
        fit(host, callback, max_epochs=2)
        runs.append((host, callback))
    assert_same_end(*runs, exactly=False)


def test_what_manual_optimization_cannot_tell_is_asked_for() -> None:
    for balance, says in (("gradnorm", "optimizes by hand"), ("uncertainty", "Return the loss")):
        host = ManualHost()
        before = weights(host)
        with pytest.raises(InvalidSetting, match=says):
            fit(host, make_regularizer(balance))
        assert "training_step" not in vars(host)
        assert balance != "gradnorm" or same(before, weights(host))


# -------------------------------------------------------------------------------------------- gradients


def test_gradients_are_those_of_what_is_added() -> None:
    """Of the last weight, of all calls together, and of one term alone whatever the others are."""
    told = []

    class Keeping(Looking):
        differentiates = True

        def compare(self, task: float, gradients: Tensor, step: int) -> None:
            told.append((task, gradients))

    class Twice(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            x, y = batch
            return F.mse_loss(self.net(x), y) + F.mse_loss(self.net(-x), -y)

    (x, y), net = make_data()[0], make_net()
    fit(Twice(), make_regularizer(Keeping(), losses=[Gap()], module="net"), limit_train_batches=1)
    (task, gradients), chosen = told[0], [k for k in range(2) if told[0][1][k].isfinite()]
    symmetry = Symmetry.parse(CANDIDATES[chosen[0]]).bind(x, y)
    g, _ = symmetry.sample(x, 1, Rng(0, 0))
    gaps = [(net(symmetry.move_input(g, v)) - symmetry.move_output(g, net(v))).square().mean() for v in (x, -x)]
    loss = F.mse_loss(net(x), y) + F.mse_loss(net(-x), -y)
    for value, found in ((loss, task), (gaps[0] + gaps[1], float(gradients[chosen[0]]))):
        (expected,) = torch.autograd.grad(value, net[2].weight, retain_graph=True)
        assert found == pytest.approx(float(expected.norm()), rel=1e-5)


def test_gradients_are_read_where_all_losses_reach() -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3), nn.Linear(3, 2))
    x = torch.randn(5, 2)
    task, inner = net(x).square().sum(), net[1](net[0](x)).square().sum()
    found = take_gradients([task, inner, inner * torch.nan, torch.tensor(torch.nan)], net)
    expected = [torch.autograd.grad(v, net[1].weight, retain_graph=True)[0].flatten() for v in (task, inner)]
    assert torch.allclose(found[:2], torch.stack(expected)) and found[2:].isnan().all()
    assert all(p.grad is None for p in net.parameters())
    with pytest.raises(NoGradient, match="which compare values"):
        take_gradients([task, torch.ones(1, requires_grad=True).sum()], net)


# -------------------------------------------------------------------------------------------- beside others


def test_two_regularizers_keep_their_states_apart() -> None:
    def pair(names: tuple[str, str] = ("first", "second")) -> list[EquivarianceRegularizer]:
        return [make_regularizer("dual", name=names[0]), make_regularizer("ratio", "infinitesimal", name=names[1])]

    whole, both = Host(), pair()
    fit(whole, *both, max_epochs=2)
    fit(Host(), *pair()).save_checkpoint("half.ckpt")
    resumed, again = Host(), pair()
    fit(resumed, *reversed(again), ckpt="half.ckpt", max_epochs=2)
    # penalties are added in the order of the list
    assert close(weights(whole), weights(resumed), 1e-5)
    assert all(close(learnt(a), learnt(b), 1e-5) for a, b in zip(both, again, strict=True))


def test_one_balancer_does_not_learn_for_two() -> None:
    shared = BALANCERS["dual"]()
    with pytest.raises(InvalidSetting, match="Make two of them"):
        fit(Host(), make_regularizer(shared, name="first"), make_regularizer(shared, name="second"))


def test_a_learnt_symmetry_is_pressed_by_its_regularizer() -> None:
    """The same object: it is stepped and saved once, and its strength tunes itself."""

    def run(balance: Any, **settings: Any) -> Any:
        symmetry = Symmetry.parse("vector -> vector")
        symmetry.name = "learnt"
        host, learning = Host(), make_callback(symmetry, name="learning", losses=[], probability=0.5)
        pressing = make_regularizer(balance, candidates=[symmetry, CANDIDATES[0]], name="pressing")
        trainer = fit(host, learning, pressing, **settings)
        return trainer, host, learning, pressing

    _, whole, learning, pressing = run("dual", max_epochs=2)
    assert all(value > 0 for value in strengths(pressing)) and learning._clock.steps > 0 and not pressing._clock.steps
    run("dual")[0].save_checkpoint("half.ckpt")
    _, resumed, again, other = run("dual", max_epochs=2, ckpt="half.ckpt")
    assert same(own_weights(learning), own_weights(again))
    assert_same_end((whole, pressing), (resumed, other))


# -------------------------------------------------------------------------------------------- odd moments


def test_a_fast_run_writes_nothing_and_says_all() -> None:
    callback = make_regularizer("ratio")
    fit(Host(), callback, val=make_loader(2, seed=5), fast_dev_run=1)
    assert len(callback.levels) == 2 and callback.step == 1
    assert not [path for path in Path.cwd().rglob("*") if path.is_file()]


def test_the_sanity_check_teaches_nothing() -> None:
    runs = []
    for sane in (0, 2):
        host, callback = Host(), make_regularizer("dual")
        fit(host, callback, val=make_loader(2, seed=5), num_sanity_val_steps=sane)
        runs.append((host, callback))
    assert_same_end(*runs)


def test_a_search_for_the_rate_teaches_nothing() -> None:
    host, callback = Host(), make_regularizer("dual")
    trainer = make_trainer(callback)
    Tuner(trainer).lr_find(host, make_loader(), num_training=8, update_attr=False)
    assert callback.step == 0 and strengths(callback) == [0.0, 0.0]
    trainer.fit(host, make_loader())
    plain, other = Host(), make_regularizer("dual")
    fit(plain, other)
    assert_same_end((host, callback), (plain, other))


def test_a_module_that_is_only_validated_is_left_alone() -> None:
    host, callback = Host(), make_regularizer("ratio")
    trainer = make_trainer(callback)
    before, metrics = weights(host), trainer.validate(host, make_loader(), verbose=False)
    assert same(before, weights(host)) and callback.step == 0 and not callback.levels
    assert metrics == make_trainer().validate(Host(), make_loader(), verbose=False)


def test_a_second_fit_goes_on_where_the_first_ended() -> None:
    host, callback = Host(), make_regularizer("dual")
    fit(host, callback)
    first = strengths(callback)
    fit(host, callback)
    assert callback.step == 8 and strengths(callback) != first and len(callback.levels) == 2


@pytest.mark.parametrize(("words", "kind"), [("0.5", Fixed), ("[0.5]", Fixed), ("dual", Dual), ("dual(0.1)", Dual)])
def test_a_command_line_says_numbers_and_names(words: str, kind: type[Balancer]) -> None:
    flags = ["--trainer.callbacks+=lightning_symmetry.EquivarianceRegularizer", "--trainer.logger=false"]
    flags += [f"--trainer.callbacks.symmetries={CANDIDATES[0]}", f"--trainer.callbacks.balance={words}"]
    line = LightningCLI(Plain, Data, args=flags, run=False, save_config_callback=None)
    (made,) = [c for c in line.trainer.callbacks if isinstance(c, EquivarianceRegularizer)]
    assert type(made.balance) is kind and (kind is Dual or made.balance.values == [0.5])
