"""`LieGAN`: the game, as a LightningModule."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, final

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lightning_symmetry.actions import Representation
from lightning_symmetry.callbacks.printing import printing
from lightning_symmetry.callbacks.refusals import refuse_non_finite, refuse_unwritable
from lightning_symmetry.discovery import Discovery
from lightning_symmetry.exceptions import InvalidSetting, UnsupportedTrainer
from lightning_symmetry.methods.liegan.discriminator import Discriminator, lay_flat
from lightning_symmetry.methods.liegan.evidence import Samples, area_under_curve, join_rows, take_rows
from lightning_symmetry.methods.liegan.game import Game, split_pair
from lightning_symmetry.methods.liegan.identify import data_span, measure_spread, on_span
from lightning_symmetry.methods.liegan.objective import Objective
from lightning_symmetry.methods.liegan.verdict import conclude, idle_in, violations_of
from lightning_symmetry.paths import find_leaves, replace_leaves
from lightning_symmetry.report import print_discovery, write_report
from lightning_symmetry.symmetry import Symmetry

# Pairs kept for the verdict, of training and of validation each.
KEPT_PAIRS = 4096
# Training may end when the discriminator does no better on held-out pairs, and the generators have come to rest.
LARGEST_AUC = 0.55
LARGEST_CHANGE = 0.02
PATIENCE = 3


@final
class LieGAN(LightningModule):
    r"""Generators that move pairs (x, y) so that a discriminator cannot tell them from data.

    .. math:: \min_L \max_D\; E \log D(x, y) + E \log (1 - D(g x, g y)) + \text{penalties}, \quad
        g = \exp \textstyle\sum_k w_k L_k

    No predictor takes part: the input's side of the symmetry moves x, the output's side moves y. Optimization is
    manual: the generators step first, the discriminator on the same moved pairs after, and neither leaves a gradient in
    the other.
    Several seeds play at once, each on its own. At the end of the fit the best of them is judged (see `conclude`),
    printed, written to ``<log dir>/symmetry/<name>/`` and published as ``symmetry/<name>/auc``, ``.../cosine``,
    ``.../spread`` and the metrics of `Discovery`. During training ``.../discriminator_auc`` and ``.../norm_k`` are
    logged with every validation.

    Both rates fall to zero over the last third of a training whose length is known: at constant ones, as published, the
    generators keep wandering (an element of order seven stayed off by 1.4 degrees, and by at most 0.3 with it).

    Batches are (x, y), or x alone. It trains on one device; where several are asked for it refuses, since two networks
    that step in turns are what DDP's bookkeeping of unused parameters breaks on, and they are small. ``max_steps``
    counts the steps of every optimizer, two a seed and batch: prefer ``max_epochs``.

    Args:
        symmetry: A sentence, an object, a mapping or a saved file, see `Symmetry.of`; its group is learnt.
        objective: The penalties.
        discriminator: The architecture; every seed gets a copy.
        lr: Learning rate of the generators (published: 1e-3).
        lr_discriminator: Of the discriminator (published: 2e-4); the ratio of the two matters more than their size.
        scale: Standard deviation of the generators' first entries (published: 1).
        seeds: How many play; the verdict tells how far apart they end.
        early_stop: End when the discriminators do no better than 0.55 on held-out pairs and no generator changes by
            more than 2 % in three validations.
        seed: Of everything drawn.
        evidence_steps: Batches that the networks of the verdict are trained for.

    Raises:
        InvalidSetting: There is nothing to learn, or a number makes no sense.
    """

    def __init__(
        self,
        symmetry: Any,
        objective: Objective | None = None,
        discriminator: Discriminator | None = None,
        lr: float = 5e-3,
        lr_discriminator: float = 1e-3,
        scale: float = 0.3,
        seeds: int = 3,
        early_stop: bool = True,
        seed: int = 0,
        evidence_steps: int = 300,
    ) -> None:
        super().__init__()
        sought = Symmetry.of(symmetry)
        if min(lr, lr_discriminator, scale) <= 0 or min(seeds, evidence_steps) < 1:
            raise InvalidSetting(
                got=f"lr={lr}, lr_discriminator={lr_discriminator}, scale={scale}, seeds={seeds}, "
                f"evidence_steps={evidence_steps}",
                expected="positive rates and scale, at least one seed and one step",
                remedy="The defaults are 5e-3, 1e-3, 0.3, 3 and 300.",
            )
        if not sought.group.learnable or getattr(sought.sampler, "learnable", False):
            raise InvalidSetting(
                got=f"{sought.sentence!r} under {type(sought.sampler).__name__}, which learns widths or nothing",
                expected="a group to be learnt, under a law of fixed widths",
                remedy="For example 'learned(2) on vector -> vector'; methods.augerino learns widths.",
            )
        if any(isinstance(action, Representation) for side in (sought.input, sought.output) for action in side.actions):
            raise InvalidSetting(
                got=f"{sought.sentence!r}, where an action is learnt",
                expected="a side of vectors, points, images, scalars or labels",
                remedy="A discriminator accepts any action that keeps y together with x: say how y moves.",
            )
        # in tuples, so that what every seed copies is no part of this module itself
        self._parts = sought, discriminator or Discriminator()
        self.objective = objective or Objective()
        self.lr, self.lr_discriminator, self.scale = lr, lr_discriminator, scale
        self.seeds, self.early_stop, self.seed, self.evidence_steps = seeds, early_stop, seed, evidence_steps
        self.automatic_optimization = False
        # Any, since torch types what a list holds as plain modules
        self.games: Any = nn.ModuleList()
        self.updates: Tensor
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self.discovery: Discovery | None = None
        self.history: dict[str, list[float]] = {"step": []}
        self._kept: dict[str, list[Any]] = {"training": [], "validation": []}
        self._scores: list[list[tuple[Tensor, Tensor]]] = []
        self._before: list[Tensor] = []
        self._calm, self._concluded = 0, -1
        self._layout: tuple[int, int] | None = None

    @property
    def sought(self) -> Symmetry:
        """The symmetry as it was stated; every seed learns a copy."""
        return self._parts[0]

    @property
    def name(self) -> str:
        """Name in logs and files."""
        return self.sought.name

    # ---------------------------------------------------------------- before training

    def setup(self, stage: str) -> None:
        """Complete the symmetry and the networks by a first batch, before there are optimizers.

        Raises:
            UnsupportedTrainer: There are several devices.
            InvalidSetting: The batches are no pairs, or not finite.
        """
        if stage != "fit":
            return
        trainer: Any = self.trainer
        if trainer.world_size > 1:
            raise UnsupportedTrainer(
                got=f"{trainer.world_size} devices for LieGAN",
                expected="one: two networks step in turns, and both are small",
                remedy="Set devices=1; give every device a seed of its own where several are to be compared.",
            )
        self._kept, self._before, self._calm, self._concluded = {"training": [], "validation": []}, [], 0, -1
        if self.games:
            return
        with torch.random.fork_rng(devices=[]):
            trainer.fit_loop.setup_data()
            batch = next(iter(trainer.train_dataloader or []), None)
        if batch is None:
            raise InvalidSetting("a training loader without a batch", "at least one", "Look at the dataset's length.")
        pair = split_pair(batch)
        numbers, labels = lay_flat(pair)
        refuse_non_finite(numbers)
        self._build((numbers.shape[1], labels.shape[1]))
        for index, game in enumerate(self.games):
            # what was stated with its generators begins with them
            game.begin(pair, None if self.sought.is_bound and not index else self.scale)
        if trainer.is_global_zero and not trainer.fast_dev_run:
            refuse_unwritable(self.report_folder)

    def _build(self, layout: tuple[int, int]) -> None:
        """Make the opponents, for as many numbers and labels as a pair has."""
        self._layout = layout
        self.games.extend(Game(*self._parts, 1000 * self.seed + index, layout) for index in range(self.seeds))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for either side of every game, generators with the published momentum of a half."""
        optimizers: list[torch.optim.Optimizer] = []
        for game in self.games:
            optimizers.append(torch.optim.Adam(game.symmetry.parameters(), lr=self.lr, betas=(0.5, 0.999)))
            optimizers.append(torch.optim.Adam(game.discriminator.parameters(), lr=self.lr_discriminator))
        return optimizers

    # ---------------------------------------------------------------- the game

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Let both sides of every game step."""
        pair = split_pair(batch)
        self._keep("training", pair)
        optimizers: Any = self.optimizers()
        progress = self._progress()
        for optimizer, lr in zip(optimizers, [self.lr, self.lr_discriminator] * len(self.games), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = lr * min(3 * (1 - progress), 1.0)
        for game, generators, discriminator in zip(self.games, optimizers[::2], optimizers[1::2], strict=True):
            # what is toggled off gets no gradient, though the loss runs through it
            self.toggle_optimizer(generators)
            loss, fake = game.bluff(pair, self.objective, int(self.updates), progress)
            self._step(generators, loss)
            self.toggle_optimizer(discriminator)
            self._step(discriminator, game.call(pair, fake, self.objective))
        self.updates += 1

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        self.manual_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        self.untoggle_optimizer(optimizer)

    def _progress(self) -> float:
        """Share of the training that is over; 0 where nobody knows how long it takes."""
        trainer, ends = self.trainer, [math.inf]
        if trainer.max_epochs not in (-1, None):
            ends.append(float(trainer.num_training_batches) * trainer.max_epochs)
        if trainer.max_steps > 0:
            ends.append(trainer.max_steps / (2 * len(self.games)))
        return min(int(self.updates) / max(min(ends), 1.0), 1.0)

    def on_validation_epoch_start(self) -> None:
        """Begin a round on held-out pairs."""
        self._scores = [[] for _ in self.games]
        self._kept["validation"] = []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Let every discriminator score held-out pairs and moved ones."""
        pair = split_pair(batch)
        self._keep("validation", pair)
        for game, scores in zip(self.games, self._scores, strict=True):
            scores.append(game.score(pair, batch_idx))

    def on_validation_epoch_end(self) -> None:
        """Log, and end the training where it has come to rest."""
        if self.trainer.sanity_checking or not all(self._scores):
            return
        curves = [area_under_curve(*map(torch.cat, zip(*scores, strict=True))) for scores in self._scores]
        bases = [game.symmetry.group.coefficients().detach().clone() for game in self.games]
        norms = self.games[0].symmetry.group.norms().tolist()
        values = {"discriminator_auc": max(curves)} | {f"norm_{k}": norm for k, norm in enumerate(norms)}
        self.log_dict({f"symmetry/{self.name}/{key}": value for key, value in values.items()})
        self.history["step"].append(float(self.updates))
        for key, value in values.items():
            self.history.setdefault(key, []).append(value)
        # all or nothing: a seed that is still on its way may be the best in the end
        rest = len(self._before) == len(bases) and max(map(_change, bases, self._before)) < LARGEST_CHANGE
        rest &= self.objective.has_faded(self._progress())
        self._calm = self._calm + 1 if rest and max(curves) < LARGEST_AUC else 0
        self._before = bases
        if self.early_stop and self._calm >= PATIENCE:
            self.trainer.should_stop = True

    # ---------------------------------------------------------------- the end

    def on_train_epoch_end(self) -> None:
        """Publish the verdict in the last epoch: callbacks that read metrics do so before `on_train_end`."""
        trainer = self.trainer
        last = trainer.should_stop
        last |= trainer.max_epochs not in (-1, None) and trainer.current_epoch + 1 >= trainer.max_epochs
        if last or 0 <= trainer.max_steps <= trainer.global_step:
            self._conclude()

    def on_train_end(self) -> None:
        """Publish the verdict where the end was not foreseen."""
        self._conclude()

    def _conclude(self) -> None:
        kept = self._kept
        if self._concluded == int(self.updates) or not kept["training"]:
            return
        self._concluded = int(self.updates)
        held_out = "validation" if kept["validation"] else "training"
        train = join_rows(kept["training"], KEPT_PAIRS)
        if kept["validation"]:
            aside = join_rows(kept["validation"], KEPT_PAIRS)
        else:
            half = len(lay_flat(train)[0]) // 2
            train, aside = take_rows(train, slice(0, half)), take_rows(train, slice(half, None))
        samples = Samples(train, aside, self._parts[1], self.evidence_steps, self.seed)
        symmetries = [game.symmetry for game in self.games]
        violations = [violations_of(symmetry, samples) for symmetry in symmetries]
        # a generator that came to rest at the identity violates nothing, and is no find
        losses = [sum(v) + len(idle_in(s, samples)) for v, s in zip(violations, symmetries, strict=True)]
        best = losses.index(min(losses))
        span = data_span(symmetries[best], *aside)
        spread = measure_spread([on_span(s.group.coefficients(), span) for s in symmetries])
        tell_truth = getattr(getattr(self.trainer, "datamodule", None), "truth", None)
        self.discovery, metrics = conclude(
            symmetries[best],
            samples,
            violations[best],
            truth=None if tell_truth is None else tell_truth(),
            spread=spread if self.seeds > 1 else None,
            history=self.history,
            held_out=held_out,
        )
        metrics = self.discovery.metrics() | metrics
        published = {f"symmetry/{self.name}/{key}": torch.tensor(float(value)) for key, value in metrics.items()}
        self.trainer.callback_metrics.update(published)
        trainer: Any = self.trainer
        folder = None if trainer.fast_dev_run else self.report_folder
        if folder is not None:
            write_report(self.discovery, folder, aside[0])
        with printing(self):
            print_discovery(self.discovery, folder)
            print(f"held-out AUC of a fresh discriminator: {metrics['auc']:.3f} (0.5: data and moved data are alike)")

    @property
    def report_folder(self) -> Path:
        """Where the report goes: beside the logs."""
        return Path(self.trainer.log_dir or self.trainer.default_root_dir) / "symmetry" / self.name

    def _keep(self, part: str, pair: Any) -> None:
        kept = self._kept[part]
        if sum(len(next(iter(find_leaves(one).values()))) for one in kept) < KEPT_PAIRS:
            # outside inference mode, since the verdict trains on them
            with torch.inference_mode(False), torch.no_grad():
                kept.append(replace_leaves(pair, {path: leaf.clone() for path, leaf in find_leaves(pair).items()}))

    # ---------------------------------------------------------------- state

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the networks are built from, and the curves: plain values."""
        checkpoint["liegan"] = {
            "layout": list(self._layout or ()),
            "history": self.history,
            "before": self._before,
            "calm": self._calm,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the networks where no data have been seen yet."""
        saved = checkpoint["liegan"]
        self.history = {key: list(values) for key, values in saved["history"].items()}
        self._before, self._calm = saved["before"], saved["calm"]
        if not self.games and saved["layout"]:
            self._build(tuple(saved["layout"]))


def _change(now: Tensor, before: Tensor) -> float:
    return float((now - before).norm() / before.norm().clamp_min(1e-12))
