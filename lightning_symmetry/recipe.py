"""Recipes: find them, run them, collect what they claim."""

from __future__ import annotations

import difflib
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lightning_symmetry.comparison import Comparison
from lightning_symmetry.exceptions import InvalidFile, UnknownName

if TYPE_CHECKING:
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

    from lightning_symmetry.callbacks.expect import Expect

# Lightning takes seconds to import, so it is imported where something is run: listing the recipes is instant.

RUNS = Path("lightning_symmetry_runs")
# Replaced by every number under ``seeds`` in turn.
SEED = "$seed"


@dataclass(frozen=True)
class Recipe:
    """A YAML file with one or several parts.

    A part with ``seeds: [0, 1, 2]`` is run once with each, which takes the place of every ``$seed`` in it. A document
    ``compare``, beside the parts, sets them side by side, see `Comparison`.

    Args:
        name: The file's stem.
        path: The file.
    """

    name: str
    path: Path

    @property
    def comments(self) -> str:
        """What the file says of itself."""
        return "\n".join(line[1:].strip() for line in self.path.read_text().splitlines() if line.startswith("#"))

    @property
    def summary(self) -> tuple[str, str]:
        """The first line of the comments, and what follows ``measured:`` in them."""
        lines = self.comments.splitlines() or [""]
        return lines[0], "; ".join(line.partition(":")[2].strip() for line in lines if line.startswith("measured:"))

    @property
    def needs_escnn(self) -> bool:
        """Whether its comments say ``needs: escnn``."""
        return "needs: escnn" in self.comments.splitlines()

    @property
    def parts(self) -> list[tuple[str, str]]:
        """Name and text of every part.

        Raises:
            InvalidFile: A part is no YAML mapping.
        """
        parts = [(document.get("name"), text) for document, text in self._documents if "compare" not in document]
        if not parts:
            raise InvalidFile(
                got=f"{self.path.name}, which is empty", expected="model, data, trainer", remedy="Fill it."
            )
        return [(str(name or f"part {number}"), text) for number, (name, text) in enumerate(parts, start=1)]

    @property
    def comparison(self) -> Comparison | None:
        """What the parts are compared by, if they are.

        Raises:
            InvalidFile: It cannot be read, or there are several.
        """
        found = [document["compare"] for document, _ in self._documents if "compare" in document]
        if len(found) > 1:
            raise InvalidFile(f"{len(found)} times compare in {self.path.name}", "one", "Join them.")
        return Comparison.read(found[0], [name for name, _ in self.parts], self.path.name) if found else None

    @property
    def _documents(self) -> list[tuple[dict[str, Any], str]]:
        documents: list[tuple[dict[str, Any], str]] = []
        first_line = 1
        for text in re.split(r"^---[^\n]*\n", self.path.read_text(), flags=re.MULTILINE):
            try:
                document = yaml.safe_load(text)
            except yaml.MarkedYAMLError as error:
                line = first_line + (error.problem_mark.line if error.problem_mark else 0)
                raise InvalidFile(
                    got=f"line {line} of {self.path.name}: {error.problem}",
                    expected="YAML",
                    remedy="Look at the indentation, the colons and the brackets of that line and the one before.",
                ) from error
            first_line += text.count("\n") + 1
            if document is None:
                continue
            if not isinstance(document, dict):
                raise InvalidFile(
                    got=f"a {type(document).__name__} in {self.path.name}",
                    expected="a mapping with model, data and trainer",
                    remedy="See the recipes that come with the package for the form.",
                )
            documents.append((document, text))
        return documents


def recipe_folder() -> Path:
    """Find the recipes: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def list_recipes() -> list[Recipe]:
    """List the recipes that come with the package, by name."""
    return [Recipe(path.stem, path) for path in sorted(recipe_folder().glob("*.yaml"))]


def find_recipe(name: str) -> Recipe:
    """Find a recipe by name, or a file.

    Raises:
        UnknownName: There is none; the closest match and all names are told.
    """
    if name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Recipe(Path(name).stem, Path(name))
        raise UnknownName(got=f"no file {name!r}", expected="the path of a YAML file", remedy="Check the path.")
    recipes = {recipe.name: recipe for recipe in list_recipes()}
    if name in recipes:
        return recipes[name]
    close = difflib.get_close_matches(name, recipes, n=1)
    raise UnknownName(
        got=f"recipe {name!r}",
        expected=f"one of {', '.join(recipes) or 'none'}",
        remedy=f"Did you mean {close[0]!r}?" if close else "A file of your own ends in .yaml.",
    )


def run(recipe: Recipe, overrides: Sequence[str]) -> list[Expect]:
    """Train and test every part of a recipe, and print the table that compares them, if there is one.

    Args:
        recipe: What to run.
        overrides: Arguments in the form of LightningCLI, applied to every part.

    Returns:
        The claims of all parts and about the table, with what was measured.

    Raises:
        InvalidFile: The recipe does not fit what it names.
        InvalidSetting: A package that recipes need is missing.
    """
    parts, comparison = [(name, _split_seeds(text, recipe)) for name, text in recipe.parts], recipe.comparison
    if recipe.needs_escnn:
        from lightning_symmetry.actions.escnn import demand_escnn

        demand_escnn(f"the recipe {recipe.name!r}")
    claims: list[Expect] = []
    runs: dict[str, list[dict[str, float]]] = {name: [] for name, _ in parts}
    several = sum(len(texts) for _, texts in parts) > 1
    with quiet():
        for name, texts in parts:
            for seed, text in texts.items():
                title = name if seed is None else f"{name}, seed {seed}"
                if several:
                    print(f"{recipe.name}: {title}", flush=True)
                folder = RUNS / recipe.name / (re.sub(r"\W+", "_", title) if several else "")
                made, measured = _run_part(_build(recipe, title, text, folder, overrides))
                claims += made
                runs[name].append(measured)
    if comparison is not None:
        from lightning_symmetry.report import format_table

        print(format_table(*comparison.lay_out(runs)), flush=True)
        claims += comparison.judge(runs)
    return claims


def _split_seeds(text: str, recipe: Recipe) -> dict[int | None, str]:
    """Write a part once for each of its seeds."""
    seeds = yaml.safe_load(text).get("seeds")
    if seeds is None:
        return {None: text}
    proper = isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)
    if not proper or SEED not in text:
        raise InvalidFile(
            got=f"seeds: {seeds} in {recipe.path.name}" + ("" if SEED in text else f" without any {SEED}"),
            expected=f"whole numbers, and {SEED} where they belong",
            remedy=f"For example 'seeds: [0, 1, 2]' and 'seed_everything: {SEED}'.",
        )
    return {seed: text.replace(SEED, str(seed)) for seed in seeds}


def _build(recipe: Recipe, title: str, text: str, folder: Path, overrides: Sequence[str]) -> LightningCLI:
    from lightning_symmetry.lightning_cli import SymmetryCLI

    class RecipeCLI(SymmetryCLI):
        def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            parser.add_argument("--name", type=str, default=title, help="name of this part of the recipe")
            parser.add_argument("--seeds", type=list[int] | None, default=None, help="that this part is run with")

    logger = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(folder), "name": ""}}
    return RecipeCLI(
        args=["--config", text, *overrides],
        source=f"{recipe.name} ({title})",
        run=False,
        trainer_defaults={"default_root_dir": str(folder), "logger": logger, "enable_model_summary": False},
        auto_configure_optimizers=False,
    )


def _run_part(cli: LightningCLI) -> tuple[list[Expect], dict[str, float]]:
    from lightning.pytorch.utilities.model_helpers import is_overridden

    from lightning_symmetry.callbacks.expect import Expect

    trainer: Any = cli.trainer
    claims = [callback.defer() for callback in trainer.callbacks if isinstance(callback, Expect)]
    trainer.fit(cli.model, datamodule=cli.datamodule)
    measured = dict(trainer.callback_metrics)
    if is_overridden("test_step", cli.model):
        trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
        measured |= trainer.callback_metrics
    if trainer.is_global_zero:
        print(f"results: {trainer.log_dir or trainer.default_root_dir}", flush=True)
    return claims, {name: float(value) for name, value in measured.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Lightning says of hardware, loggers and workers; its errors and progress bar stay."""
    # importing Lightning sets the levels of its loggers, so it comes first
    import lightning.pytorch

    from lightning_symmetry.lightning_cli import parser_silenced

    loggers = [logging.getLogger(name) for name in (lightning.pytorch.__name__, "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with parser_silenced():
            for message in (
                ".*does not have many workers.*",
                ".*is smaller than the logging interval.*",
                ".*Checkpoint directory .* exists.*",
                ".*treespec, LeafSpec.*",
                ".*available but not used.*",
            ):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
