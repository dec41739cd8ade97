"""The command line: Lightning's own commands for any project, and recipes that check what they claim."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_symmetry.exceptions import ClaimFailed, SymmetryError, UnknownName
from lightning_symmetry.recipe import find_recipe, list_recipes, quiet, run

if TYPE_CHECKING:
    from lightning_symmetry.callbacks.expect import Expect

ABOUT = """\
Find the symmetries of any LightningModule and its data, and train on them.

  lightning-symmetry recipes                                   what can be run, and what was measured
  lightning-symmetry run semola_digits                         train it, test it, check its claims
  lightning-symmetry run semola_digits --trainer.max_epochs 3  the same with a change
  lightning-symmetry fit --model my.Module --data my.Data \\
      --trainer.callbacks+=LearnableAugmentation --trainer.callbacks.symmetries "image -> label"
  lightning-symmetry extract --model my.Module --data my.Data --ckpt_path best.ckpt
"""

EXAMPLES = {
    "fit": """\
Train a LightningModule, also one of your own.

  lightning-symmetry fit --model my.Module --data my.Data --trainer.max_epochs 20 \\
      --trainer.callbacks+=LearnableAugmentation --trainer.callbacks.symmetries "image -> label"
  lightning-symmetry fit --model Classifier --data RotatedDigits --data.fresh true \\
      --trainer.callbacks+=semola --trainer.callbacks.symmetry "image -> label" \\
      --trainer.callbacks+=Expect --trainer.callbacks.metric val/accuracy --trainer.callbacks.at_least 0.8
  lightning-symmetry fit --config my.yaml --ckpt_path last.ckpt
""",
    "validate": """\
Validate a checkpoint.

  lightning-symmetry validate --config config.yaml --ckpt_path best.ckpt
  lightning-symmetry validate --model my.Module --data my.Data --ckpt_path best.ckpt
""",
    "test": """\
Test a checkpoint.

  lightning-symmetry test --config config.yaml --ckpt_path best.ckpt
  lightning-symmetry test --model my.Module --data my.Data --ckpt_path best.ckpt \\
      --trainer.callbacks+=Expect --trainer.callbacks.metric test/accuracy --trainer.callbacks.at_least 0.9
""",
    "predict": """\
Predict with a checkpoint.

  lightning-symmetry predict --config config.yaml --ckpt_path best.ckpt
  lightning-symmetry predict --model my.Module --data my.Data --ckpt_path best.ckpt
""",
}

EXAMPLES["extract"] = """\
Read the symmetry out of a checkpoint: which transformations its network respects, and how well.

  lightning-symmetry extract --config config.yaml --ckpt_path best.ckpt
  lightning-symmetry extract --model my.Module --data my.Data --ckpt_path best.ckpt \\
      --symmetry "affine on image -> label"
  lightning-symmetry extract --model my.Module --data my.Data --ckpt_path best.ckpt \\
      --symmetry "SE(3) on pos=points, z=scalar -> forces=vector" --on validate --delta 0.05

The module need not know of this package; the command runs its test_step, else its validation_step, and changes
nothing. Without --symmetry it says what it looks for. The report lies in lightning_symmetry_runs/extract/<checkpoint>,
unless --trainer.default_root_dir says where. Callbacks and loggers of a configuration are left out.
"""

COMMANDS = (*EXAMPLES, "recipes", "run")

ABOUT_COMMAND = """
Every option below can be written in YAML: --print_config prints it, --config reads it, and `fit` leaves config.yaml
beside its logs. The working directory can be imported from. What this package brings goes by short names, `semola`
and the other preset functions included:

  --trainer.callbacks.help LearnableAugmentation     what it takes
  --trainer.callbacks.balance Ramp --trainer.callbacks.balance.start 300

The Lightning is that of the package `lightning`; a project on `pytorch_lightning` gives its own LightningCLI the
dotted paths. The exit code is 0; 1 when the claim of an Expect does not hold; 2 when something is wrong with the
request.
"""

ABOUT_RUN = """\
Run a recipe: train, test, and check every claim that it makes.

A recipe is a YAML file for Lightning's command line: a model, data, a trainer, callbacks; it may hold several parts,
which run in turn. It is given by name (see `lightning-symmetry recipes`) or as the path of a file of your own.
"""

EXAMPLES_RUN = """\
Whatever follows the recipe overrides it, in every part:

  lightning-symmetry run semola_digits --trainer.max_epochs 3
  lightning-symmetry run semola_digits --data.init_args.degrees 45 --model.init_args.width 32
  lightning-symmetry run semola_digits --trainer.accelerator gpu --trainer.devices 2
  lightning-symmetry run semola_digits --print_config > mine.yaml     write the full recipe to change it
  lightning-symmetry run mine.yaml

Claims are `lightning_symmetry.callbacks.Expect` callbacks:

  - class_path: lightning_symmetry.callbacks.Expect
    init_args: {metric: test/accuracy, at_least: 0.9}

Results go to lightning_symmetry_runs/<recipe>. The exit code is 0 when every claim holds, 1 when one does not,
2 when the recipe cannot be run.
"""


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _report(claims: Sequence[Expect]) -> int:
    """Print the table of claims, and one sentence for each that does not hold."""
    if not claims:
        print("done; the recipe makes no claim")
        return 0
    rows = [("metric", "measured", "bound", "holds")]
    for claim in claims:
        measured = "never" if claim.measured is None else f"{claim.measured:.4g}"
        rows.append((claim.metric, measured, claim.bound, "yes" if claim.holds else "NO"))
    print(_table(rows), flush=True)
    failed = 0
    for claim in claims:
        try:
            claim.verify()
        except ClaimFailed as failure:
            failed = 1
            print(failure, file=sys.stderr)
    return failed


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("lightning-symmetry", description=ABOUT, formatter_class=form)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # those of Lightning have a parser of their own, which takes seconds to build
    for command, about in EXAMPLES.items():
        commands.add_parser(command, add_help=False, help=about.partition("\n")[0].rstrip("."))
    commands.add_parser("recipes", help="List the recipes", description="List the recipes.")
    run_parser = commands.add_parser(
        "run",
        help="Run a recipe and check its claims",
        description=ABOUT_RUN,
        epilog=EXAMPLES_RUN,
        formatter_class=form,
    )
    run_parser.add_argument("recipe", metavar="RECIPE", help="name of a recipe, or path of a YAML file")
    run_parser.add_argument("overrides", metavar="--key value", nargs=argparse.REMAINDER, help="changes to the recipe")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: By default those of the process.

    Returns:
        0 when everything holds, 1 when a claim does not, 2 when something is wrong with the request.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if words and words[0] in EXAMPLES:
            return _run_lightning(words)
        if words and words[0] not in COMMANDS and not words[0].startswith("-"):
            _refuse_command(words[0])
        given = _parser().parse_args(words)
        if given.command == "recipes":
            rows = [(recipe.name, *recipe.summary) for recipe in list_recipes()]
            print(_table([("recipe", "what it does", "measured"), *rows]))
            return 0
        recipe = find_recipe(given.recipe)
        if {"-h", "--help"} & set(given.overrides):
            print(f"{recipe.name}: {recipe.comments}\n\n{EXAMPLES_RUN}")
            return 0
        return _report(run(recipe, given.overrides))
    except ClaimFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    except SymmetryError as error:
        print(error, file=sys.stderr)
        return 2


def _refuse_command(word: str) -> None:
    close = difflib.get_close_matches(word, COMMANDS, n=1)
    raise UnknownName(
        got=f"the command {word!r}",
        expected=f"one of {', '.join(COMMANDS)}",
        remedy=f"Did you mean {close[0]!r}?" if close else "See lightning-symmetry --help.",
    )


def _run_lightning(words: Sequence[str]) -> int:
    from lightning_symmetry.lightning_cli import SymmetryCLI

    command = words[0]
    usage = f"lightning-symmetry {command} [--config FILE] [--model CLASS] [--data CLASS] [--KEY VALUE ...]"
    about = (words, f"lightning-symmetry {command}", usage, EXAMPLES[command] + ABOUT_COMMAND)
    if command == "extract":
        from lightning_symmetry.extract import ExtractCLI, Extractor

        with quiet():
            ExtractCLI(*about, trainer_class=Extractor)
    else:
        SymmetryCLI(*about)
    return 0
