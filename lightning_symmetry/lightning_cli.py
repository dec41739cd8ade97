"""Lightning's command line, taught the short names of this package and to tell a mistake in one sentence.

It is that of the package `lightning`: a project on `pytorch_lightning` uses its own LightningCLI, which takes the same
callbacks by their dotted paths.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import inspect
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI

from lightning_symmetry import callbacks, data, hosts, methods
from lightning_symmetry.balancing import Balancer
from lightning_symmetry.exceptions import InvalidFile, InvalidSetting, SymmetryError
from lightning_symmetry.losses import Loss

# Importing them is what makes their classes known by short name.
_HOMES = (callbacks, data, hosts)
_NOUNS = (Callback, LightningModule, LightningDataModule, Loss, Balancer)


class SymmetryCLI(LightningCLI):
    """LightningCLI in which callbacks, rooms, hosts, data, losses and balancers go by their short names.

    Args:
        args: What was given on the command line.
        source: What is read, for messages.
        usage: First line of the help, for a run of Lightning's commands.
        about: What follows it.
        **settings: Of LightningCLI.

    Raises:
        InvalidFile: The arguments do not fit what they name.
        InvalidSetting: A package that the command line needs is missing.
        SymmetryError: Whatever a constructor of this package says of its arguments.
    """

    def __init__(
        self, args: Sequence[str], source: str, usage: str | None = None, about: str | None = None, **settings: Any
    ) -> None:
        _demand_parser()
        from jsonargparse import DefaultHelpFormatter

        _announce_rooms()
        self.source = source
        form = type("Form", (argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter), {})
        parser: dict[str, Any] = {"exit_on_error": False, "prog": "lightning-symmetry", "formatter_class": form}
        # an abbreviation would swallow a slip of the pen
        parser["allow_abbrev"] = False
        if usage is not None:
            parser[args[0]] = {"usage": usage, "description": about}
        with parser_silenced():
            super().__init__(args=list(args), parser_kwargs=parser, save_config_kwargs={"overwrite": True}, **settings)

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse, with modules of the working directory at hand."""
        here = str(Path.cwd())
        if here not in sys.path and "" not in sys.path:
            sys.path.insert(0, here)
        try:
            self.config = parser.parse_args(args)
        except argparse.ArgumentError as error:
            raise _explain(self.source, str(error), self._parser_of(args)) from error
        given = next((part for part in (self.config, *vars(self.config).values()) if "ckpt_path" in _keys(part)), None)
        path = None if given is None else given["ckpt_path"]
        # "best", "last" and addresses are Lightning's to resolve
        if path and Path(str(path)).suffix and "://" not in str(path) and not Path(str(path)).exists():
            raise InvalidFile(f"{self.source}: no checkpoint {str(path)!r}", "the path of one", "Check the path.")

    def _parse_ckpt_path(self) -> None:
        """Take the module's arguments from the checkpoint, where it holds some that the class takes."""
        command = str(self.config.get("subcommand"))
        given = self.config.get(command, {})
        path, kind = given.get("ckpt_path"), given.get("model.class_path")
        # what has to be unpickled is left to the trainer, and the arguments to the command line
        if not path or not kind or not Path(path).is_file() or given.get("weights_only") is False:
            return
        saved = _read_arguments(path, self.source)
        named = str(saved.pop("_class_path", kind))
        # a script that was run calls its classes __main__
        if named.rpartition(".")[2] != kind.rpartition(".")[2]:
            raise InvalidFile(
                got=f"{self.source}: {path}, which is a checkpoint of {named}, for {kind}",
                expected="the class that was trained",
                remedy="Give --model that class.",
            )
        accepted = inspect.signature(pkgutil.resolve_name(kind)).parameters
        values = {name: value for name, value in saved.items() if name in accepted}
        if not values:
            return
        try:
            model = {"class_path": kind, "init_args": values}
            self.config = self.parser.parse_object({command: {"model": model}}, self.config)
        except argparse.ArgumentError as error:
            raise _explain(f"{self.source} ({path})", str(error), self.parser) from error

    def instantiate_classes(self) -> None:
        """Build everything; an error of this package comes out as it was raised."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            # the parser wraps what a constructor raises
            raise _find_own(error) or error from None

    def _parser_of(self, args: Sequence[str]) -> Any:
        return getattr(self, "_subcommand_parsers", {}).get(args[0] if args else None, self.parser)


@contextmanager
def parser_silenced() -> Iterator[None]:
    """Silence what the parser says of its own future."""
    with warnings.catch_warnings():
        for message in ("(?s).*JSONARGPARSE_DEPRECATION_WARNINGS.*", "(?s).*was deprecated in v4.* removed in v5.*"):
            warnings.filterwarnings("ignore", message=message)
        yield


def suggest(name: str, names: Iterable[str]) -> str:
    """Find what was probably meant.

    Example:
        >>> suggest("max_epoch", ["max_steps", "max_epochs"]), suggest("zebra", ["max_steps"])
        ("Did you mean 'max_epochs'?", 'Check the spelling.')
    """
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"Did you mean {close[0]!r}?" if close else "Check the spelling."


def short_names() -> set[str]:
    """List the names that may stand for a class path: every callback, room, host, data module, loss and balancer."""
    found: set[type] = set()
    fresh: list[type] = list(_NOUNS)
    while fresh:
        found.update(fresh)
        derived: list[list[type]] = [type.__subclasses__(kind) for kind in fresh]
        fresh = [kind for kinds in derived for kind in kinds if kind not in found]
    return {kind.__name__ for kind in found if not kind.__module__.startswith("torch") and not inspect.isabstract(kind)}


@cache
def _announce_rooms() -> tuple[type, ...]:
    """Make the preset functions of all rooms known by short name.

    The parser takes a function that is annotated to return a callback or a module, but looks short names up among
    their subclasses only; so each preset gets an empty subclass whose import path is the function's.
    """
    stand_ins = []
    for room in pkgutil.iter_modules(methods.__path__, f"{methods.__name__}."):
        module = importlib.import_module(room.name)
        for name, preset in vars(module).items():
            if inspect.isfunction(preset) and preset.__module__.startswith(room.name) and not name.startswith("_"):
                made = get_type_hints(preset).get("return")
                nouns = [n for n in (Callback, LightningModule) if isinstance(made, type) and issubclass(made, n)]
                if nouns:
                    home = methods.__name__ if getattr(methods, name, None) is preset else room.name
                    stand_ins.append(type(name, (nouns[0],), {"__module__": home}))
    return tuple(stand_ins)


def _read_arguments(path: str, source: str) -> dict[str, Any]:
    """Read the arguments of a module that a checkpoint holds."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return dict(checkpoint.get("hyper_parameters", {}))
    except Exception as error:
        # a file of any other kind fails in any way
        fault = "is no checkpoint of plain values" if "weights_only" in str(error) else "cannot be read"
        raise InvalidFile(
            got=f"{source}: {path}, which {fault}",
            expected="a checkpoint, of tensors and plain values",
            remedy="If you trust it, --weights_only false unpickles it; the module's arguments are then yours to give.",
        ) from error


def _keys(part: Any) -> set[str]:
    return set(vars(part)) if hasattr(part, "__dict__") else set()


def _demand_parser() -> None:
    missing = [name for name in ("jsonargparse", "docstring_parser", "typeshed_client") if find_spec(name) is None]
    if missing:
        raise InvalidSetting(
            got=f"a Python without {missing[0]}",
            expected="the recipes extra",
            remedy="Run: pip install 'lightning-symmetry[recipes]'.",
        )


def _explain(source: str, message: str, parser: argparse.ArgumentParser) -> InvalidFile:
    """Reduce a parser's error, which lists every type that was tried, to what went wrong and what was meant."""
    owner, key, leaf, given = _find_fault(message)
    expected, remedy = "arguments that the classes in it accept", "Correct the value."
    got = leaf if owner is None else f"class_path {owner!r}: {leaf}"
    if name := _match(r"dot import path string: (\w+)", leaf):
        got, expected = f"{name!r} as {key}", "the short name or the dotted path of a class"
        remedy = suggest(name, short_names())
    elif option := _match(r"[Oo]ption '([\w.]+)'|unrecognized arguments: --([\w.]+)", leaf):
        remedy = suggest(
            re.sub(r"\.(class_path|init_args)\b.*", "", option), _names_beside(option, owner, leaf, parser)
        )
    elif required := _match(r"arguments are required: ([\w., ]+)", leaf):
        remedy = f"Give {required.removeprefix(source.split()[-1] + '.')!r}."
    elif module := _match(r"module '([\w.]+)' has no attribute", leaf):
        remedy = suggest((owner or module).rpartition(".")[2], dir(importlib.import_module(module)))
    elif "No module named" in leaf:
        remedy = "Check the spelling; the working directory can be imported from."
    elif given is not None:
        got = f"{key} cannot be {given} ({leaf[:1].lower()}{leaf[1:]})"
    return InvalidFile(got=f"{source}: {got}", expected=expected, remedy=remedy)


def _find_fault(message: str) -> tuple[str | None, str | None, str, str | None]:
    """Follow the first of every list of errors: (class, key, what is wrong, given value), the innermost of each."""
    owner, key, leaf, given = None, None, "", None
    for line in (line.strip(" -") for line in message.splitlines()):
        if leaf:
            if line.startswith("Given value:"):
                return owner, key, leaf, line.removeprefix("Given value:").strip()
            if leaf.endswith(":") or line.startswith("in "):
                leaf = f"{leaf} {line}"
        elif match := re.match(r"Problem with given class_path '(.*)':$", line):
            owner = match.group(1)
        elif match := re.match(r"Parser key \"(.*)\":\s*$", line):
            key = match.group(1)
        elif line and not line.startswith(("Does not validate", "Subtypes:", "Errors:", "Expected a path but")):
            leaf = line
    return owner, key, leaf or message.replace("\n", " "), given


def _match(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return None if found is None else next(group for group in found.groups() if group)


def _names_beside(option: str, owner: str | None, leaf: str, parser: argparse.ArgumentParser) -> list[str]:
    """List what could have been written in place of an option."""
    if owner:
        return [*inspect.signature(pkgutil.resolve_name(owner)).parameters, "init_args", "class_path"]
    names = [action.dest for action in parser._actions]
    if group := _match(r"Group '([\w.]+)'", leaf):
        return [name.removeprefix(f"{group}.") for name in names]
    # `modle.class_path` is a slip in `model`
    return [name.split(".")[0] for name in names] + names


def _find_own(error: BaseException | None) -> SymmetryError | None:
    while error is not None and not isinstance(error, SymmetryError):
        error = error.__cause__ or error.__context__
    return error
