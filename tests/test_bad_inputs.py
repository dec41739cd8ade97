"""What people get wrong, as a table: each row ends in one sentence that says got, expected, and remedy.

Rows that train also check that nothing was spent or lost: the weights are those from before, and the module is clean.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from lightning_symmetry import (
    EquivarianceRegularizer,
    Expect,
    GeneratorExtraction,
    LearnableAugmentation,
    Symmetry,
    exceptions,
)
from lightning_symmetry.actions import Image, Points, Scalar, Vector
from lightning_symmetry.balancing import Constraint, Dual, Fixed, GradNorm, Ramp, Ratio, Uncertainty
from lightning_symmetry.cli import main
from lightning_symmetry.data import RotatedDigits
from lightning_symmetry.exceptions import SymmetryError
from lightning_symmetry.groups import SO, AffineMap, Cyclic, Given, Learned, Permutations, as_element
from lightning_symmetry.losses import Equivariance, InfinitesimalEquivariance, Projection
from lightning_symmetry.methods.semola import semola
from lightning_symmetry.samplers import Uniform
from tests.seam.boring import Host, ManualHost, deal, make_data, make_loader, make_net, make_trainer, same, weights

Row = tuple[str, type[SymmetryError], str, Callable[[Path], Any]]


def parse(sentence: str) -> Callable[[Path], Any]:
    return lambda folder: Symmetry.parse(sentence)


def raises(action: Callable[[], Any]) -> Callable[[Path], Any]:
    return lambda folder: action()


def augment(symmetry: Any = "vector -> vector", **settings: Any) -> Callable[[Path], Any]:
    return lambda folder: LearnableAugmentation(symmetry, **settings)


def train(
    symmetry: Any = "vector -> vector", data: Any = None, host: type[Host] = Host, net: Any = None, **settings: Any
) -> Callable[[Path], Any]:
    """Fit a small network, and see that the error came before the first weight moved and left nothing behind."""
    of_trainer = {k: settings.pop(k) for k in ("strategy", "default_root_dir") if k in settings}

    def build() -> LearnableAugmentation:
        return LearnableAugmentation(symmetry, **{"balance": [1.0, 0.05, 0.1], **settings})

    return fit_in_vain(build, data, host, net, **of_trainer)


def press(
    symmetry: Any = ("SO(2) on vector -> vector", "O(2) on vector -> vector"),
    data: Any = None,
    host: type[Host] = Host,
    net: Any = None,
    **settings: Any,
) -> Callable[[Path], Any]:
    """Regularize a small network, which is refused when the regularizer is made or before the first weight moved."""
    symmetries = list(symmetry) if isinstance(symmetry, tuple) else symmetry
    return fit_in_vain(lambda: EquivarianceRegularizer(symmetries, **settings), data, host, net)


def fit_in_vain(
    build: Callable[[], Any], data: Any, host: type[Host], net: Any, **of_trainer: Any
) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        module = host(make_net() if net is None else net())
        before, attributes = weights(module), set(vars(module))
        roots = {"default_root_dir": str(of_trainer.get("default_root_dir", folder)).format(folder=folder)}
        callback = build()
        try:
            make_trainer(callback, **{**of_trainer, **roots}).fit(module, make_loader() if data is None else data())
        finally:
            assert same(before, weights(module))
            assert set(vars(module)) <= attributes | {"_trainer", "_hparams"}
            assert not module.losses or host is not Host

    return run


def read(
    symmetry: Any = "SO(2) on vector -> vector",
    data: Any = None,
    net: Any = make_net,
    host: type[Host] = Host,
    stage: str = "fit",
    **settings: Any,
) -> Callable[[Path], Any]:
    """Read a small network in a run of some stage, and see that its weights and attributes are those from before."""

    def run(folder: Path) -> None:
        module = host(net())
        before, attributes = weights(module), set(vars(module))
        trainer = make_trainer(GeneratorExtraction(symmetry, **settings), default_root_dir=folder)
        try:
            getattr(trainer, stage)(module, make_loader() if data is None else data())
        finally:
            assert same(before, weights(module))
            assert set(vars(module)) <= attributes | {"_trainer", "_hparams"}

    return run


def images(dtype: torch.dtype = torch.float32, *shape: int) -> Callable[[], Any]:
    return lambda: deal([(torch.zeros(shape or (4, 1, 6, 6)).to(dtype), torch.zeros(4, 2))] * 2)


def vectors(spoil: Callable[[Tensor], Any] = lambda x: None, size: int = 2) -> Callable[[], Any]:
    def make() -> Any:
        batches = [(torch.ones(8, size) + torch.arange(8.0)[:, None], torch.zeros(8, 2)) for _ in range(2)]
        spoil(batches[0][0])
        return deal(batches)

    return make


class Flat(nn.Module):
    """Takes anything of the shape of the rows."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.float().flatten(1))


class NoCall(Host):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return sum(p.square().sum() for p in self.parameters())


class TwoNets(Host):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.other = nn.Linear(2, 2)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.mse_loss(self.net(batch[0]) + self.other(batch[0]), batch[1])


class TwoValidated(TwoNets):
    validation_step = TwoNets.training_step


class IdleValidation(Host):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        return None


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(40, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Twins(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, q: Tensor, p: Tensor) -> Tensor:
        return self.linear(q + p)


class TwinHost(Host):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.mse_loss(self.net(batch[0], batch[0] + 1), batch[1])


class Wordy(Host):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        super().training_step(batch, batch_idx)
        return "fine"


class Detached(ManualHost):
    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.net(batch[0]).detach()


class Silent(ManualHost):
    """Keeps its loss to itself, and does not move."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.manual_backward(F.mse_loss(self.net(batch[0]), batch[1]))


class Weightless(nn.Module):
    """Has a parameter, and no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class Nets(nn.Module):
    """Two outputs of one shape."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"force": self.linear(x), "torque": self.linear(x + 1)}


class NetsHost(Host):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.mse_loss(self.net(batch[0])["force"], batch[1])


def saved(folder: Path) -> Path:
    symmetry = Symmetry("learned(1)", "vector(2)", "vector(2)")
    symmetry.bind(torch.zeros(1, 2))
    return symmetry.save(folder / "found")


def spoiled(how: Callable[[Path, Path], Any]) -> Callable[[Path], Any]:
    """Save a symmetry, spoil one of its two files, and read it."""

    def run(folder: Path) -> None:
        file = saved(folder)
        how(file, file.with_suffix(".safetensors"))
        Symmetry.load(file)

    return run


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


def resume_another(folder: Path) -> None:
    first = LearnableAugmentation("learned(1) on vector -> vector", balance=[1.0, 0.05, 0.1], name="turns")
    trainer = make_trainer(first, default_root_dir=folder)
    trainer.fit(Host(), make_loader())
    trainer.save_checkpoint(folder / "one.ckpt")
    second = LearnableAugmentation("learned(3) on vector -> vector", balance=[1.0, 0.05, 0.1], name="turns")
    make_trainer(second, default_root_dir=folder, max_epochs=2).fit(
        Host(), make_loader(), ckpt_path=folder / "one.ckpt", weights_only=None
    )


def run_recipe(text: str) -> Callable[[Path], Any]:
    """Run a recipe through the command line, whose sentence goes to stderr; raised again as an error."""

    def run(folder: Path) -> None:
        (folder / "mine.yaml").write_text(text)
        _command("run", str(folder / "mine.yaml"))

    return run


def command(*words: str) -> Callable[[Path], Any]:
    return lambda folder: _command(*words)


def _command(*words: str) -> None:
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(list(words))
    assert code == 2, said.getvalue()
    assert "Traceback" not in said.getvalue()
    got, _, rest = said.getvalue().strip().splitlines()[-1].removeprefix("got ").partition("; expected ")
    expected, _, remedy = rest.partition(". ")
    raise exceptions.SymmetryError(got, expected, remedy)


RECIPE = """
model:
  class_path: lightning_symmetry.hosts.Regressor
  init_args: {inputs: 4, outputs: 2}
data:
  class_path: lightning_symmetry.data.PlanarVectors
  init_args: {samples: 100}
trainer: {accelerator: cpu, max_epochs: 1, enable_checkpointing: false}
"""

MISSPELT = "{class_path: lightning_symmetry.LearnableAugmentation, init_args: {symmetries: vectr -> vector}}"

SLOPES = [InfinitesimalEquivariance()]
LEARNING = [Equivariance("mse", 1, "0", "learned")]

E = exceptions
ROWS: list[Row] = [
    # sentences
    ("no arrow", E.SentenceError, "one '->'", parse("image label")),
    ("two arrows", E.SentenceError, "one '->'", parse("image -> label -> label")),
    ("an empty side", E.SentenceError, "action", parse("SO(2) on -> label")),
    ("unknown group", E.UnknownName, "Did you mean", parse("SOO(2) on image -> label")),
    ("unknown action", E.UnknownName, "Did you mean", parse("imge -> label")),
    ("too many arguments", E.SentenceError, "arguments", parse("SO(2, 3, 4) on image -> label")),
    ("arguments that are no values", E.SentenceError, "plain values", parse("SO(two) on image -> label")),
    ("a polygon without corners", E.InvalidSetting, "positive whole number", parse("D0 on image -> mask")),
    ("no generators", E.InvalidSetting, "at least one generator", parse("learned(0) on image -> label")),
    ("an unknown padding", E.InvalidSetting, "reflection", parse("SO(2) on image(padding='mirror') -> label")),
    ("same for two parts", E.AmbiguousPath, "exactly one", parse("SO(3) on pos=points, v=vector -> same")),
    ("a group of no dimension", E.DimensionMismatch, "at least 2", raises(lambda: SO(1))),
    # objects
    ("a number for a symmetry", E.InvalidSetting, "a sentence", augment(3)),
    ("no symmetry", E.InvalidSetting, "at least one", augment([])),
    ("a typo in a mapping", E.SymmetryError, "input", augment({"over": "SO(2)", "inptu": "vector", "output": "same"})),
    ("probability above one", E.InvalidSetting, "[0, 1]", augment(probability=2.0)),
    ("half a draw", E.InvalidSetting, "number of draws", augment(average=2.5)),
    ("a loss for a list", E.InvalidSetting, "a list of losses", augment(losses=Equivariance())),
    ("the name of a loss", E.InvalidSetting, "a list of losses", augment(losses=["Equivariance"])),
    ("a rate below zero", E.InvalidSetting, "positive learning rate", augment(lr=-1.0)),
    ("a name with a slash", E.InvalidSetting, "folder", augment(name="a/b")),
    ("every zeroth step", E.InvalidSetting, "at least 1", augment(every_n_steps=0)),
    ("a negative strength", E.InvalidSetting, ">= 0", augment(balance=-1.0)),
    ("strengths that do not match", E.InvalidSetting, "one a loss", augment(balance=[1.0, 2.0])),
    ("a warm-up of negative length", E.InvalidSetting, ">= 0", raises(lambda: Ramp(1.0, start=-3))),
    ("a strength that is NaN", E.InvalidSetting, "finite", raises(lambda: Fixed(float("nan")))),
    ("an unknown distance", E.InvalidSetting, "mse", raises(lambda: Equivariance("cosine"))),
    ("no views", E.InvalidSetting, "at least 1", raises(lambda: Equivariance(views=0))),
    ("a negative width", E.InvalidSetting, "no negative", raises(lambda: Uniform(SO(2), width=-1.0))),
    (
        "a width for each of other generators",
        E.InvalidSetting,
        "one a generator",
        raises(lambda: Uniform(SO(3), [1, 2]).widths),
    ),
    ("blocks that do not fill", E.DimensionMismatch, "blocks", raises(lambda: Learned(5, blocks=2, affine=False))),
    ("an unknown preset", E.InvalidSetting, "general", raises(lambda: semola("image -> label", preset="strong"))),
    (
        "generators said twice",
        E.InvalidSetting,
        "one of the two",
        raises(lambda: semola("SO(2) on image -> label", generators=2)),
    ),
    ("a claim without bound", E.InvalidSetting, "at_least", raises(lambda: Expect("test/accuracy"))),
    ("a claim that nothing meets", E.InvalidSetting, "at_least <= at_most", raises(lambda: Expect("a", 2, 1))),
    (
        "matrices of another size",
        E.DimensionMismatch,
        "matrices of size",
        raises(lambda: as_element(torch.eye(5)[None], 2)),
    ),
    ("a projective matrix", E.DimensionMismatch, "last row", raises(lambda: as_element(torch.ones(1, 3, 3), 2))),
    (
        "too few elements",
        E.DimensionMismatch,
        "one for each sample",
        raises(lambda: Vector().act(Cyclic(3).discrete, torch.ones(2, 2))),
    ),
    (
        "a composition across spaces",
        E.DimensionMismatch,
        "one space",
        raises(lambda: AffineMap.identity(1, 2) @ AffineMap.identity(1, 3)),
    ),
    ("generators that are not square", E.SymmetryError, "(K, ", raises(lambda: Given(torch.ones(2, 3, 2)))),
    ("another number of nodes", E.DimensionMismatch, "nodes", raises(lambda: Permutations(3).bind(4))),
    ("flat positions", E.ActionMismatch, "length 3", raises(lambda: Points(3).check(torch.ones(2, 9)))),
    (
        "nothing moves",
        E.InvalidSetting,
        "at least one part",
        raises(lambda: Symmetry("SO(2)", Scalar(), Scalar()).bind(torch.ones(2, 2))),
    ),
    # files
    (
        "a missing folder",
        E.InvalidFile,
        "symmetry.yaml",
        lambda folder: Symmetry.of(str(folder / "none" / "symmetry.yaml")),
    ),
    ("an empty folder", E.InvalidFile, "symmetry.yaml", lambda folder: Symmetry.of(str(folder))),
    ("tensors cut off", E.InvalidFile, "safetensors", spoiled(lambda text, tensors: truncate(tensors))),
    ("tensors gone", E.InvalidFile, "safetensors", spoiled(lambda text, tensors: tensors.unlink())),
    (
        "a pickle for the tensors",
        E.InvalidFile,
        "safetensors",
        spoiled(lambda text, tensors: tensors.write_bytes(pickle.dumps({"basis": 1}))),
    ),
    (
        "a checkpoint for the tensors",
        E.InvalidFile,
        "safetensors",
        spoiled(lambda text, tensors: torch.save({}, tensors)),
    ),
    (
        "a pickle for the text",
        E.InvalidFile,
        "readable",
        spoiled(lambda text, tensors: text.write_bytes(pickle.dumps(range(9)))),
    ),
    ("broken text", E.InvalidFile, "readable", spoiled(lambda text, tensors: text.write_text("a: [1"))),
    ("text cut off", E.InvalidFile, "", spoiled(lambda text, tensors: truncate(text))),
    ("some other YAML", E.SymmetryError, "input", spoiled(lambda text, tensors: text.write_text("a: 1"))),
    (
        "text without a law",
        E.InvalidFile,
        "law",
        spoiled(lambda text, tensors: text.write_text(text.read_text().replace("law:", "lore:"))),
    ),
    ("tensors of something else", E.SymmetryError, "(K, n, n)", lambda folder: Given(_other_tensors(folder))),
    # training
    ("a wrong module name", E.TargetError, "Correct the name", train(module="nett")),
    (
        "a module that is never called",
        E.TargetError,
        "never called|no training step called",
        lambda folder: _never_called(folder),
    ),
    ("a step that calls nothing", E.TargetError, "called no submodule", train(host=NoCall)),
    ("two networks in one step", E.TargetError, "Name it", train(host=TwoNets)),
    ("vectors for images", E.ActionMismatch, "(B, C, H, W)", train("image -> vector")),
    (
        "a rotation of space for images",
        E.DimensionMismatch,
        "3",
        train("SO(3) on image -> scalar", images(), net=lambda: Flat(36)),
    ),
    (
        "whole numbers for images",
        E.ActionMismatch,
        "floating point",
        train("image -> scalar", images(torch.uint8), net=lambda: Flat(36)),
    ),
    (
        "images without channels",
        E.ActionMismatch,
        "channel axis",
        train("image -> scalar", images(torch.float32, 4, 6, 6), net=lambda: Flat(36)),
    ),
    (
        "an odd number of coordinates",
        E.ActionMismatch,
        "multiple of 2",
        train("vector(2) -> vector(2)", vectors(size=3), net=lambda: Flat(3)),
    ),
    ("NaN in the data", E.InvalidSetting, "finite data", train(data=vectors(lambda x: x[0].fill_(torch.nan)))),
    ("infinity in the data", E.InvalidSetting, "finite data", train(data=vectors(lambda x: x[0].fill_(torch.inf)))),
    ("an empty loader", E.InvalidSetting, "at least one batch", train(data=lambda: deal([]))),
    ("a path that does not exist", E.AmbiguousPath, "one of", train("input.poss=vector -> vector")),
    ("two tensors that fit", E.AmbiguousPath, "exactly one", train("vector -> scalar", host=TwinHost, net=Twins)),
    ("two outputs that fit", E.AmbiguousPath, "exactly one", train(host=NetsHost, net=Nets)),
    ("an output that is no image", E.ActionMismatch, "(B, C, H, W)", train("vector -> image")),
    ("a step that returns text", E.NoGradient, "returned str", train(host=Wordy)),
    (
        "an output that nobody differentiates",
        E.NoGradient,
        "without gradient",
        train(host=Detached, net=lambda: nn.Linear(2, 2).requires_grad_(False)),
    ),
    ("a report folder that is a file", E.InvalidSetting, "cannot be written", train(default_root_dir="{folder}/taken")),
    ("a checkpoint of another symmetry", E.SymmetryError, "", resume_another),
    ("two learners of one name", E.InvalidSetting, "name=", lambda folder: _twice(folder)),
    ("a claim on a metric that is not there", E.ClaimFailed, "Did you mean", lambda folder: _misspelt_claim(folder)),
    # reading generators
    ("a reading at no time", E.InvalidSetting, "'end' or 'validation'", read(when="sometimes")),
    ("every other end", E.InvalidSetting, "when='validation'", read(every_n=2)),
    ("a bound above a random direction", E.InvalidSetting, "(0, 1)", read(delta=2.0)),
    ("an unknown backend", E.InvalidSetting, "Use 'auto'", read(backend="magic")),
    ("a finite group to read", E.InvalidSetting, "continuous part", read("C4 on vector -> vector")),
    ("images to read of vectors", E.ActionMismatch, "(B, C, H, W)", read("affine on image -> vector")),
    ("NaN to read from", E.InvalidSetting, "finite data", read(data=vectors(lambda x: x[0].fill_(torch.nan)))),
    ("an output to read that is not there", E.AmbiguousPath, "one of", read("GL on vector -> forces=vector")),
    ("too many unknowns", E.InvalidSetting, "smaller group", read("GL on vector -> scalar", vectors(size=40), Wide)),
    ("a choice that is not ours", E.AmbiguousPath, "Write '", read(None, vectors(size=40), Wide)),
    ("two networks to read", E.TargetError, "Name it", read(host=TwoNets)),
    ("two networks to read in validation", E.TargetError, "Name it", read(host=TwoValidated, stage="validate")),
    ("a validation without network", E.TargetError, "Name the network", read(host=IdleValidation, stage="validate")),
    ("a network to read that is misspelt", E.TargetError, "Correct the name", read(module="nett", stage="validate")),
    ("two reports in one folder", E.InvalidSetting, "another name=", lambda folder: _one_folder(folder)),
    # strengths that tune themselves
    ("a misspelt balancer", E.UnknownName, "Did you mean ratio", press(balance="ratoi")),
    ("a strength in quotes", E.SentenceError, "Known are", press(balance="0.5x")),
    ("a balancer's misspelt argument", E.SentenceError, "arguments that it takes", press(balance="dual(epsilom=0.1)")),
    ("strengths for other losses", E.InvalidSetting, "3 strengths for 2 losses", press(balance=[1.0, 2.0, 3.0])),
    ("a negative candidate's strength", E.InvalidSetting, "finite numbers >= 0", press(balance=[1.0, -1.0])),
    ("a negative tolerance", E.InvalidSetting, "finite numbers >= 0", raises(lambda: Dual(-0.1))),
    ("a tolerance in words", E.InvalidSetting, "'auto'", raises(lambda: Dual("automatic"))),
    ("a memory that forgets nothing", E.InvalidSetting, "smoothing below 1", raises(lambda: Dual(smoothing=1.0))),
    ("a window of no batches", E.InvalidSetting, "numbers above 0", raises(lambda: Ratio(window=0))),
    ("a rule before the first batch", E.InvalidSetting, "numbers above 0", raises(lambda: Ratio(start=-0.1))),
    ("descent that climbs", E.InvalidSetting, "positive numbers", raises(lambda: Uncertainty(rate=-1.0))),
    ("gradients without bound", E.InvalidSetting, "most >= 1", raises(lambda: GradNorm(most=0.0))),
    ("strengths by data that nobody moves", E.InvalidSetting, "errors of equivariance", press(balance=Constraint())),
    ("a tolerance that nobody can tell", E.InvalidSetting, "Dual(epsilon=0.02)", press(balance=Dual("auto"))),
    ("nothing to press towards", E.InvalidSetting, "SO(2) on image -> label", press(None)),
    ("nothing to measure", E.InvalidSetting, "Leave losses out", press(losses=[])),
    ("a loss outside a list", E.InvalidSetting, "a list of losses", press(losses=Equivariance())),
    ("no batch to press on", E.InvalidSetting, "at least 1", press(every_n_steps=0)),
    ("one candidate twice", E.InvalidSetting, "a name for each", press(("SO(2) on vector -> vector",) * 2)),
    ("a candidate that has to be learnt", E.InvalidSetting, "nobody has learnt", press("vector -> vector")),
    ("slopes of a finite group", E.InvalidSetting, "draws elements", press("C4 on vector -> vector", losses=SLOPES)),
    (
        "a feature that is not there",
        E.TargetError,
        "begins below",
        press(losses=[Equivariance("mse", 1, "one", "scalar")]),
    ),
    ("a feature without action", E.InvalidSetting, "action=", raises(lambda: Equivariance(feature="encoder"))),
    ("an action without feature", E.InvalidSetting, "which submodule", raises(lambda: Equivariance(action="scalar"))),
    (
        "a feature of another kind",
        E.ActionMismatch,
        "batch of images",
        press(losses=[Equivariance("mse", 1, "0", "image")]),
    ),
    ("a feature's action to be learnt", E.InvalidSetting, "learns nothing", press(losses=LEARNING)),
    (
        "weights that all commute",
        E.InvalidSetting,
        "all weights commute",
        press(losses=[Projection({"0": "2x0 -> 8x0"})]),
    ),
    ("types that do not fit", E.InvalidSetting, "8", press(losses=[Projection({"0": "1x1 -> 3x1"})])),
    ("a network without weights", E.InvalidSetting, "weights to project", press(net=Weightless, losses=[Projection()])),
    ("gradients under manual optimization", E.InvalidSetting, "by hand", press(host=ManualHost, balance="gradnorm")),
    ("an untold loss", E.InvalidSetting, "Return the loss", press(host=Silent, balance="ratio")),
    ("two networks to press", E.TargetError, "Name it", press(host=TwoNets)),
    (
        "whole numbers to turn",
        E.ActionMismatch,
        "float",
        press("SO(2) on image -> label", images(torch.uint8), net=lambda: Flat(36)),
    ),
    ("NaN to press on", E.InvalidSetting, "finite data", press(data=vectors(lambda x: x[0].fill_(torch.nan)))),
    ("an empty loader to press on", E.InvalidSetting, "at least one batch", press(data=lambda: deal([]))),
    ("one balancer for two", E.InvalidSetting, "Make two", lambda folder: _share_balancer(folder)),
    ("a checkpoint of another balancer", E.InvalidSetting, "another balance", lambda folder: _resume_balancer(folder)),
    # the command line
    (
        "an untrained network to read",
        E.SymmetryError,
        "--ckpt_path",
        command("extract", "--model", "Classifier", "--data", "RotatedDigits"),
    ),
    (
        "a checkpoint to read that is not there",
        E.SymmetryError,
        "no checkpoint",
        command("extract", "--model", "Classifier", "--data", "RotatedDigits", "--ckpt_path", "none.ckpt"),
    ),
    ("an unknown recipe", E.SymmetryError, "semola_digits", command("run", "semola_digit")),
    ("a recipe file that is not there", E.SymmetryError, "path", command("run", "nothing.yaml")),
    (
        "a checkpoint that is not there",
        E.SymmetryError,
        "no checkpoint",
        command("validate", "--model", "Classifier", "--data", "RotatedDigits", "--ckpt_path", "none.ckpt"),
    ),
    ("a recipe that is empty", E.SymmetryError, "empty", run_recipe("")),
    ("a recipe that is a list", E.SymmetryError, "mapping", run_recipe("- 1\n")),
    ("a recipe that is no YAML", E.SymmetryError, "line", run_recipe("\nmodel: [1\n")),
    ("a typo in a key", E.SymmetryError, "model", run_recipe(RECIPE.replace("model:", "modle:"))),
    ("a typo in an argument", E.SymmetryError, "outputs", run_recipe(RECIPE.replace("outputs:", "outpust:"))),
    (
        "a class that does not exist",
        E.SymmetryError,
        "",
        run_recipe(RECIPE.replace("hosts.Regressor", "hosts.Regresor")),
    ),
    (
        "a sentence with a typo, in a recipe",
        E.SymmetryError,
        "vector",
        run_recipe(RECIPE.replace("trainer: {", f"trainer: {{callbacks: [{MISSPELT}], ")),
    ),
]


def _other_tensors(folder: Path) -> str:
    save_file({"weights": torch.ones(3)}, folder / "other.safetensors")
    return str(folder / "other.safetensors")


def _never_called(folder: Path) -> None:
    class Idle(Host):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Linear(2, 2)

    host = Idle()
    callback = LearnableAugmentation("vector -> vector", module="spare", balance=[1.0, 0.05, 0.1])
    try:
        make_trainer(callback, default_root_dir=folder).fit(host, make_loader())
    finally:
        # an epoch had to pass until this could be known
        assert "training_step" not in vars(host)
        assert len(host.losses) == len(make_data())


def _twice(folder: Path) -> None:
    callbacks = [LearnableAugmentation("vector -> vector", balance=[1.0, 0.05, 0.1]) for _ in range(2)]
    make_trainer(*callbacks, default_root_dir=folder).fit(Host(), make_loader())


def _one_folder(folder: Path) -> None:
    learning = LearnableAugmentation("SO(2) on vector -> vector", losses=[], probability=1.0)
    reading = GeneratorExtraction("SO(2) on vector -> vector")
    make_trainer(learning, reading, default_root_dir=folder).fit(Host(), make_loader())


def _share_balancer(folder: Path) -> None:
    shared = Dual()
    pressing = [EquivarianceRegularizer("SO(2) on vector -> vector", balance=shared, name=name) for name in "ab"]
    make_trainer(*pressing, default_root_dir=folder).fit(Host(), make_loader())


def _resume_balancer(folder: Path) -> None:
    for balance, checkpoint in (("ratio", None), ("dual", folder / "one.ckpt")):
        pressing = EquivarianceRegularizer("SO(2) on vector -> vector", balance=balance)
        trainer = make_trainer(pressing, default_root_dir=folder, max_epochs=1 if checkpoint is None else 2)
        trainer.fit(Host(), make_loader(), ckpt_path=checkpoint)
        trainer.save_checkpoint(folder / "one.ckpt")


def _misspelt_claim(folder: Path) -> None:
    claim = Expect("val/los", at_most=9.0)
    make_trainer(claim, default_root_dir=folder).fit(Host(), make_loader(), make_loader())
    claim.verify()


@pytest.mark.parametrize(("error", "says", "bad"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_one_sentence_and_nothing_lost(
    error: type[SymmetryError], says: str, bad: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(error) as caught:
        bad(tmp_path)
    message = str(caught.value)
    assert caught.value.got and caught.value.expected and caught.value.remedy
    assert any(word in message for word in says.split("|")), message
    assert len(message) < 600, "one sentence, not a page"
    assert (tmp_path / "taken").read_text() == "a file"


def test_the_corpus_is_large_and_every_row_has_its_own_name() -> None:
    names = [row[0] for row in ROWS]
    assert len(names) == len(set(names)) >= 40


def test_digits_of_no_size() -> None:
    with pytest.raises(SymmetryError):
        RotatedDigits(batch_size=0)


def test_the_oracle_of_the_corpus_catches_a_run_that_trained(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        train()(tmp_path)


def test_images_are_refused_in_words_that_name_the_cure() -> None:
    with pytest.raises(exceptions.ActionMismatch, match="float"):
        Image().check(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
