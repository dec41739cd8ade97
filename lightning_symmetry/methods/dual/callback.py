"""`DualAugmentation`: transformations as constraints, and the multiplier of each decides how much is trained on it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.balancing import Balancer, Dual
from lightning_symmetry.callbacks.criterion_tap import CriterionTap
from lightning_symmetry.callbacks.engine import SymmetryCallback
from lightning_symmetry.callbacks.penalty import ride_on_output
from lightning_symmetry.callbacks.printing import printing
from lightning_symmetry.callbacks.second_pass import RandomState, make_second_pass
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.callbacks.watch import evaluating
from lightning_symmetry.discovery import SymmetryLevel
from lightning_symmetry.exceptions import InvalidSetting, TargetError
from lightning_symmetry.functional.distributed import holds_everywhere, sum_over_ranks
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.methods.dual.chain import check_sampler
from lightning_symmetry.methods.dual.families import Geometric, by_name
from lightning_symmetry.methods.dual.family import Family
from lightning_symmetry.methods.dual.proposals import Proposals
from lightning_symmetry.methods.dual.scoring import Batch, Group, scoring
from lightning_symmetry.methods.dual.tally import Tally
from lightning_symmetry.methods.dual.verdict import judge_families, measure_violations
from lightning_symmetry.report import print_levels, write_levels

EVERY = 4
"""Batches after which the multipliers learn; in the last of them every family is measured, whatever its multiplier."""
SHARE = 0.125
"""Of the samples of a batch that are measured for each family then."""
VARIANTS = ("sampling", "lagrangian")


@final
class DualAugmentation(SymmetryCallback):
    """Trains subject to a loss on transformed data that is tolerable; how much of each is used, training finds out.

    min E l(f(x), y)  subject to  E l(f(g x), y) <= epsilon_k for every family k of transformations,

    where g is drawn where the loss is large, p(g | x, y) proportional to l(f(g x), y), by a Markov chain a sample (see
    `choose`). Each constraint has a multiplier lambda_k (see `Dual`), which rises while it is violated and falls to 0
    where the network meets it anyway: what is left at the end says what an invariance costs the task. Answers that move
    with the input are moved back; targets are never touched. The losses of single samples are those of the host's own
    criterion, which is found in the first two batches (see `CriterionTap`); until then, and during the balancer's
    warm-up, training is as without the callback. Where the batch does not tell the targets, g is drawn uniformly.

    Every 4 batches the multipliers are told what was measured in them, by the network in evaluation mode and without
    gradient; nothing of the module changes by that.

    Args:
        families: What `by_name` reads, by names of one's own or in a list: sentences such as "SO(2) on image -> label",
            operations such as "brightness", families; None for the symmetries that the module states, see
            `SymmetryMixin`.
        module: Dotted name of the network, needed only where several are called in one step.
        balance: The multipliers: `Dual`, by default resilient with automatic epsilon, another Balancer, or fixed
            numbers.
        criterion: Dotted name of the loss, a submodule or ``package.module.function``, where several are called.
        variant: "sampling": a sample stays clean with probability 1 / (1 + sum lambda), and is transformed by family k
            with probability lambda_k / (1 + sum lambda), so that one training pass is enough; or "lagrangian", as
            published: sum_k lambda_k l_k is added to the loss, with a further pass a family.
        sampler: "mh" (the chain), "uniform", or "worst_of" the proposals.
        steps: Proposals S a sample, the first one included.
        seed: Seed of all draws.
        name: Name in logs, files and checkpoints; by default the families' names.

    Raises:
        SymmetryError: One of its kinds, where an argument makes no sense.

    Cost: S forwards without gradient of the samples that are transformed; every 4 batches S more of an eighth of the
    batch a family.

    References:
        Hounie, Chamon and Ribeiro, Automatic data augmentation via invariance-constrained learning, arXiv 2209.15031.

    Example:
        >>> DualAugmentation({"turns": "SO(2) on image -> label", "light": "brightness"}).name
        'turns_and_light'
    """

    def __init__(
        self,
        families: Any = None,
        module: str | None = None,
        balance: Balancer | float | Sequence[float] | None = None,
        criterion: str | None = None,
        variant: Literal["sampling", "lagrangian"] = "sampling",
        sampler: Literal["mh", "uniform", "worst_of"] = "mh",
        steps: int = 2,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        check_sampler(sampler)
        if variant not in VARIANTS or steps < 1:
            raise InvalidSetting(
                got=f"variant={variant!r}, steps={steps}",
                expected=f"one of {', '.join(VARIANTS)}, and at least one step",
                remedy="The defaults are 'sampling' and 2.",
            )
        self.families: Any = nn.ModuleList()
        super().__init__(None, module, [], Dual(epsilon="auto") if balance is None else balance, 1, 1.0, seed, name)
        if getattr(self.balance, "relative", False):
            raise InvalidSetting(
                got="Dual with epsilon as a relative error",
                expected="multipliers of losses",
                remedy='Use Dual(epsilon="auto"), or Dual(epsilon=0.3, relative=False) in the loss\'s own units.',
            )
        self.criterion, self.variant, self.sampler, self.steps = criterion, variant, sampler, steps
        self.levels: list[SymmetryLevel] = []
        self._criterion = CriterionTap(criterion)
        self._ready = self._called = False
        self._proposals: Proposals | None = None
        self._late: list[tuple[Any, Group]] = []
        self._tally = Tally(0)
        if families is not None:
            self.adopt(families)

    def adopt(self, described: Any) -> None:
        """Take over the families.

        Args:
            described: As the constructor takes them.
        """
        built = _build(described)
        names = [family.name for family in built]
        if len(set(names)) < len(names) or not names:
            raise InvalidSetting(
                got=f"the families {', '.join(names) or '(none)'}",
                expected="at least one, and a name for each",
                remedy='For example {"turns": "SO(2) on image -> label", "scales": "scale on image -> label"}.',
            )
        self.families = nn.ModuleList(built)
        self.symmetries = nn.ModuleList([family.symmetry for family in built if isinstance(family, Geometric)])
        self.name = self._given_name or "_and_".join(names)
        self._owns = [True] * len(self.symmetries)
        self._tally = Tally(len(built))
        self.balance.strengths(len(built), 0)

    # ---------------------------------------------------------------- Lightning's hooks

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing that it could do."""
        return not len(self.families)

    @property
    def needs_output(self) -> bool:
        """Whether f(x) must be one call of one network."""
        return True

    @property
    def _is_off(self) -> bool:
        return not self.balance.tracks and not any(self.balance.strengths(len(self.families), self.step))

    @property
    def _compares(self) -> bool:
        """Whether losses of single samples are needed."""
        return self.balance.tracks or self.sampler != "uniform" or self.variant == "lagrangian"

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Wrap the training step and check what can be checked before training time is spent."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and not self.is_idle:
            self._criterion, self._ready = CriterionTap(self.criterion), not self._compares
            self._tap.beside = self._watch

    def _watch(self, host: nn.Module, batch: Any) -> AbstractContextManager[None]:
        return self._criterion.watching(host, batch) if self._compares and not self._is_off else nullcontext()

    def teach(self, pl_module: Any) -> None:
        """Agree over ranks on what the criterion tells, and tell the balancer what was measured."""
        self._proposals = None
        if self._is_off:
            return
        if not self._ready:
            self._agree(pl_module.device)
        if self.step % EVERY != EVERY - 1 or not self.balance.tracks:
            return
        told = self._tally.collect(pl_module.device)
        if self.balance.observes and told.clean is not None:
            self.balance.observe(told.clean, False)
        if bool(told.losses.isfinite().any()):
            self.balance.track(told.losses, self.step)
        for k, family in enumerate(self.families):
            for word, value in (("loss", told.losses[k]), ("accept", told.accepted[k])):
                if bool(value.isfinite()):
                    self._values[f"{family.name}/{word}"] = value.float()

    def describe(self) -> dict[str, Tensor]:
        """What the balancer tells of every family."""
        read: Mapping[str, list[float]] = self.balance.readings(len(self.families), self.step)
        return {
            f"{family.name}/{word}": torch.tensor(value)
            for word, values in read.items()
            for family, value in zip(self.families, values, strict=True)
        }

    def _detach(self) -> None:
        super()._detach()
        self._criterion.forget()
        self._late, self._proposals = [], None

    def _agree(self, device: torch.device) -> None:
        """Begin when every rank knows the criterion; trust the batch where it tells all of them the targets."""
        tap = self._criterion
        waiting, unknown = sum_over_ranks(torch.tensor([not tap.is_settled, not tap.knows_target], device=device) * 1.0)
        self._ready = not float(waiting)
        if not self._ready or not float(unknown):
            return
        if self.variant == "lagrangian":
            raise InvalidSetting(
                got=f"targets of {type(self._host).__name__} that its batch does not hold, with variant='lagrangian'",
                expected="targets among the batch, or a few functions of it",
                remedy="Put them into the batch, or use variant='sampling'.",
            )
        tap.knows_target = False
        if self.sampler != "uniform":
            warnings.warn(
                f"{self.name}: the targets that {type(self._host).__name__} compares answers with do not lie in its "
                "batch; transformations are drawn uniformly, not where the loss is large.",
                stacklevel=2,
            )

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Everything that training changed, as tensors and plain values."""
        own = {"criterion": self._criterion.state_dict(), "ready": self._ready, "sums": self._tally.sums.clone()}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore."""
        super().load_state_dict(state_dict)
        self._criterion.load_state_dict(state_dict["criterion"])
        self._ready, self._tally.sums = bool(state_dict["ready"]), state_dict["sums"].clone().cpu()

    # ---------------------------------------------------------------- the tap's listener

    def on_step_begin(self) -> None:
        """A new step, or a closure that runs again."""
        super().on_step_begin()
        self._called = False

    def on_repeat(self) -> None:
        """A closure is evaluated again."""
        super().on_repeat()
        self._called = False

    def on_step_output(self, output: Any) -> None:
        """Learn the criterion, and measure what only the step has told."""
        self._criterion.learn(output)
        self._measure_late()
        self._criterion.release()

    def on_call(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer the network's call: move some of the samples, or let it pass."""
        if self._is_off:
            self._calls += 1
            return site.forward(*args, **kwargs)
        if self._called:
            raise TargetError(
                got=f"two calls of {site.name!r} in one training step",
                expected="one, whose answer is compared with the targets",
                remedy="Call it once on all samples, or name another network with module=.",
            )
        self._called, self._calls = True, self._calls + 1
        self._rng = self._start_rng(self.step)
        x = site.unpack(args, kwargs)
        if not self._input_seen:
            self._meet_input(x)
        self._reservoir.keep(x)
        with self._criterion.paused():
            batch = Batch.of(x, list(self.symmetries))
            y = self._answer(site, batch)
        self._criterion.note_answer(y, batch.samples, batch.rows)
        return y

    def _answer(self, site: Site, batch: Batch) -> Any:
        strengths = self.balance.strengths(len(self.families), self.step) if self._ready else [0.0] * len(self.families)
        measuring = self._ready and self.balance.tracks and self.step % EVERY == EVERY - 1
        if not (any(strengths) or measuring):
            args, kwargs = site.pack(batch.x)
            y = site.forward(*args, **kwargs)
            self._meet_output(batch.x, y)
            return y
        before = RandomState(batch.device)
        # a closure that runs again is trained on the same transformations
        if self._proposals is None:
            self._proposals = self._propose(site, batch, before, strengths, measuring)
        chosen = self._proposals.chosen
        if self.variant == "sampling":
            groups = [group for some in chosen for group in some]
            args, kwargs = site.pack(batch.move(groups))
            return batch.move_back(groups, site.forward(*args, **kwargs))
        args, kwargs = site.pack(batch.x)
        y, f = site.forward(*args, **kwargs), make_second_pass(site, before)
        terms = [
            strength * self._compare(batch.move_back(groups, f(batch.move(groups))), batch).mean()
            for strength, groups in zip(strengths, chosen, strict=True)
            if strength > 0
        ]
        if not terms:
            return y
        if not self._host.automatic_optimization:
            return ride_on_output(y, torch.stack(terms).sum(), self._clock.scale, site.name)
        self._penalties += terms
        return y

    def _propose(
        self, site: Site, batch: Batch, before: RandomState, strengths: Sequence[float], measuring: bool
    ) -> Proposals:
        """Draw transformations, score them, and choose."""
        decides = self._compares and self._criterion.knows_target
        proposals = Proposals(
            list(self.families),
            batch,
            strengths,
            measured=SHARE if measuring else 0.0,
            clean=self.balance.observes,
            everywhere=self.variant == "lagrangian",
            sampler=self.sampler if decides else "uniform",
            states=self.steps,
            rng=self._rng,
        )
        groups, losses = proposals.groups, list[Tensor]()
        if groups or not self._output_seen:
            with scoring(site, before) as f:
                if not self._output_seen:
                    self._meet_output(batch.x, f(batch.x))
                answers = batch.answer(f, groups)
                if decides:
                    losses = [self._compare(y, batch)[group.rows] for y, group in zip(answers, groups, strict=True)]
                else:
                    # the step itself will tell the targets
                    self._late = list(zip(answers, groups, strict=True))
        self._tally.add(proposals.choose(losses))
        return proposals

    def _compare(self, y: Any, batch: Batch) -> Tensor:
        """The losses of all samples."""
        criterion = self._criterion.criterion
        assert criterion is not None, "the criterion is known once it is ready"
        return criterion.per_sample(y, self._criterion.batch, batch.samples, batch.rows)

    def _measure_late(self) -> None:
        """Measure what only the step itself has told."""
        tap, late, self._late = self._criterion, self._late, []
        if tap.criterion is None or tap.answer is None:
            return
        y, samples, rows = tap.answer
        with torch.no_grad():
            if not self._ready:
                # the first losses there are
                self._tally.add_losses(tap.criterion.per_sample(y, tap.batch, samples, rows), None)
            for answer, group in late:
                family = None if group.family is None else list(self.families).index(group.family)
                losses = tap.criterion.per_sample(answer, tap.batch, samples, rows)
                self._tally.add_losses(losses[group.rows], family)

    # ---------------------------------------------------------------- first sight of data

    def _meet_input(self, x: Any) -> None:
        """Let the families see their first input."""
        super()._meet_input(x)
        for family in self.families:
            family.bind(x)

    def _meet_output(self, x: Any, y: Any) -> None:
        """Let the families see their first output."""
        if not self._output_seen:
            super()._meet_output(x, y)
            for family in self.families:
                family.bind(x, y)

    # ---------------------------------------------------------------- the end

    def conclude(self, trainer: Any, pl_module: Any) -> None:
        """Measure every family on kept inputs; print, write and publish what was found."""
        target, kept = self._tap.target, self._reservoir.kept
        # numbers are summed over ranks: where one has none, none may wait for it
        if target is None or not holds_everywhere(bool(kept) and self._output_seen, pl_module.device):
            return
        families, curves = list(self.families), self.journal.curves
        compared = self._criterion.criterion and self._criterion.criterion.function
        logits = compared is F.cross_entropy or isinstance(compared, nn.CrossEntropyLoss)
        with evaluating(Site(self._tap.found or ".", target, target.forward)) as f:
            found = measure_violations(families, f, kept, self._start_rng, logits, pl_module.device)
        readings = self.balance.readings(len(families), self.step)
        told = {name: curve for name, curve in curves.items() if not name.endswith("/accept")}
        self.levels = judge_families(families, found, readings, told)
        for level in self.levels:
            numbers = {f"symmetry/{level.name}/{k}": torch.tensor(float(v)) for k, v in level.metrics().items()}
            trainer.callback_metrics.update(numbers)
        if trainer.is_global_zero:
            folder = None if trainer.fast_dev_run else self.report_folder
            if folder is not None:
                write_levels(self.levels, told, folder)
            with printing(pl_module):
                print_levels(self.levels, folder)
                if self.cost is not None:
                    print(f"cost: {self.cost:.0%} of training time")

    def _start_rng(self, counter: int) -> Rng:
        return Rng(self.seed, counter, self._trainer.global_rank, self._trainer.world_size)


def _build(described: Any) -> list[Family]:
    if isinstance(described, Mapping) and not {"input", "symmetry", "name"} & described.keys():
        built = []
        for name, one in described.items():
            family = by_name(one)
            # a family that was given as an object may be somebody else's, too
            family = copy.copy(family) if family is one else family
            family.name = name
            built.append(family)
        return built
    many = isinstance(described, Sequence) and not isinstance(described, str)
    return [by_name(one) for one in (described if many else [described])]
