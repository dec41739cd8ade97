"""`Symmetry`: the sentence "this group acts so on the input and so on the output"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from lightning_symmetry import groups, samplers
from lightning_symmetry.actions import Action, Image, Representation
from lightning_symmetry.archive import read_archive, write_archive
from lightning_symmetry.exceptions import AxiomViolation, InvalidFile, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Element, Given, Group, Learned, as_element
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.samplers import OneHot, Sampler, Uniform
from lightning_symmetry.sentence import read_sentence
from lightning_symmetry.sides import Side, build_side


@final
class Symmetry(nn.Module):
    """The statement that a group acts in one way on the input and in another on the output.

    A map f has the symmetry when f(rho_in(g) x) = rho_out(g) f(x) for every g that ``over`` names.

    Args:
        over: A group, a sampler (a law on a group), a name such as ``"SO(2)"``, or ``None`` for a group to be learnt.
        input: An action, its name, or a mapping from paths to either.
        output: Likewise; ``"same"`` repeats the input's action, ``"learned"`` learns a representation.
        name: Short name for logs, files and checkpoints; by default made from the sentence.

    Raises:
        SentenceError, UnknownName: A part cannot be read; what exists is listed.

    Example:
        >>> Symmetry("SO(2)", "image", "label").sentence
        'SO(2) on image -> label'
        >>> Symmetry.parse("learned(2) on pos=points, z=scalar -> forces=vector").name
        'learned_2_on_pos_points_z_scalar_to_forces_vector'
    """

    def __init__(self, over: str | Group | Sampler | None, input: Side, output: Side, name: str | None = None) -> None:
        super().__init__()
        self.sampler = _build_sampler(over)
        self.input = build_side(input)
        self.output = self.input.repeat() if output == "same" else build_side(output)
        self.name = name or _name_from(self.sentence)
        self._bound_input = self._bound_output = False

    @classmethod
    def parse(cls, sentence: str, name: str | None = None, over: Group | Sampler | None = None) -> Symmetry:
        """Read a sentence such as ``"SO(2) on image -> label"``.

        Args:
            sentence: ``[group on] input -> output``; a side is a list of ``[path=]action[(arguments)]``.
            name: Short name for logs and files.
            over: The group or law where the sentence names none; by default one to be learnt.
        """
        group, input, output = read_sentence(sentence)
        sides = build_side(input), "same" if output == [(None, "same")] else build_side(output)
        return cls(group or over, *sides, name)

    @classmethod
    def of(cls, description: Any, over: Group | Sampler | None = None) -> Symmetry:
        """Accept every way to state a symmetry: an object, a sentence, a saved file, or a mapping of arguments."""
        if isinstance(description, Symmetry):
            return description
        if isinstance(description, Mapping):
            return cls(**{"over": over, **description})
        if isinstance(description, (str, Path)):
            text = str(description)
            if text.endswith((".yaml", ".yml")) or "->" not in text and Path(text).is_dir():
                return cls.load(text)
            return cls.parse(text, over=over)
        raise InvalidSetting(
            got=f"a {type(description).__name__}",
            expected="a Symmetry, a sentence, the path of a saved symmetry, or a mapping with over, input and output",
            remedy='For example "SO(2) on image -> label".',
        )

    @property
    def group(self) -> Group:
        """The group whose elements are drawn."""
        group = self.sampler.group
        if group is None:
            raise InvalidSetting("a law without a group", "a law of some group", "Use the sampler's with_group.")
        return group

    @property
    def sentence(self) -> str:
        """The symmetry as the grammar reads it back."""
        return f"{self.group.sentence} on {self.input.sentence} -> {self.output.sentence}"

    @property
    def learnable(self) -> bool:
        """Whether training can change it."""
        return self.group.learnable or any(p.requires_grad for p in self.parameters())

    @property
    def is_bound(self) -> bool:
        """Whether paths and dimensions are known."""
        return self._bound_input

    @property
    def is_complete(self) -> bool:
        """Whether both sides are known."""
        return self._bound_input and (self._bound_output or not self.moves_output)

    @property
    def moves_output(self) -> bool:
        """Whether any part of the output moves."""
        return bool(self.output.moving)

    def bind(self, x: Any, y: Any = None) -> Symmetry:
        """Complete paths and dimensions from one input (and one output); calling it again changes nothing.

        Args:
            x: Input structure with tensors of B rows.
            y: Output structure; needed before anything moves an output.

        Raises:
            AmbiguousPath, ActionMismatch, DimensionMismatch: The data do not fit the sentence.
        """
        if not self._bound_input:
            self.input.infer(x, "input")
            moving = self.input.moving
            if not moving:
                raise InvalidSetting(
                    got=f"the input side {self.input.sentence!r}, where nothing moves",
                    expected="at least one part that the group moves",
                    remedy="Use vector, points or image on the input.",
                )
            for path, action in moving:
                self._fit_group(action, get_leaf(x, path), any(a.affine for _, a in moving))
            self.sampler.bind()
            for path, action in moving:
                action.bind(get_leaf(x, path), self.group)
            _match(self, get_leaf(x, moving[0][0]))
            self._bound_input = True
        if y is not None and not self._bound_output:
            self.output.infer(y, "output")
            for path, action in self.output.moving:
                leaf = get_leaf(y, path)
                self._fit_group(action, leaf, self.group.affine)
                action.bind(leaf, self.group)
                # the input's side may be part of a graph by now, which conversion would invalidate
                _match(action, leaf)
            self._bound_output = True
        return self

    def _fit_group(self, action: Action, leaf: Tensor, affine: bool) -> None:
        """Complete or check the dimensions of the group's parts by one tensor."""
        for part, size in (
            (self.group.part("space"), action.base_dim(leaf)),
            (self.group.part("nodes"), action.node_count(leaf)),
        ):
            if part is not None:
                part.bind(size, affine=affine)

    def move_input(self, g: Element | Tensor, x: Any) -> Any:
        """Apply rho_in(g), row by row."""
        self.bind(x)
        return self.input.move(self.element(g), x)

    def move_output(self, g: Element | Tensor, y: Any) -> Any:
        """Apply rho_out(g), row by row."""
        if not self.moves_output:
            return y
        if not self._bound_output:
            raise InvalidSetting(
                got="an output before any input was seen", expected="a bound symmetry", remedy="Call bind(x, y) first."
            )
        return self.output.move(self.element(g), y)

    def element(self, g: Element | Tensor) -> Element:
        """Accept an element or a raw (B, d, d) tensor."""
        return g if isinstance(g, Element) else as_element(g, self.group.dim)

    def sample(self, x: Any, n: int, rng: Rng) -> tuple[Element, Tensor]:
        """Draw n elements for each row: (Element of B*n rows, weights (B, n))."""
        self.bind(x)
        if (nodes := self.group.part("nodes")) is not None:
            # sets of another batch may be larger or smaller
            for path, action in self.input.moving:
                nodes.bind(action.node_count(get_leaf(x, path)))
        return self.sampler.sample(self.leading(x), n, rng)

    def leading(self, x: Any) -> Tensor:
        """The first moving tensor of the input, which gives batch size, device and dtype."""
        self.bind(x)
        return get_leaf(x, self.input.moving[0][0])

    def check(self, x: Any, rng: Rng | None = None, tolerance: float = 1e-4) -> None:
        """Check identity, inverse and composition of the declared action on real data.

        A resampled image cannot be carried forth and back exactly, so for images only the identity is checked on the
        data; the group's own elements are checked exactly for every kind of data.

        Args:
            x: Input structure.
            rng: Source of the elements tried.
            tolerance: Largest accepted relative difference.

        Raises:
            AxiomViolation: An axiom fails; it says which and by how much.
        """
        rng = rng or Rng(0)
        g, _ = self.sample(x, 1, rng)
        h, _ = self.sample(x, 1, rng)
        identity = g @ ~g
        for path, action in self.input.moving:
            leaf = get_leaf(x, path)
            trials = {"identity": (action.act(identity, leaf), leaf)}
            if not isinstance(action, Image):
                trials["inverse"] = (action.act(~g, action.act(g, leaf)), leaf)
                trials["composition"] = (action.act(g @ h, leaf), action.act(g, action.act(h, leaf)))
            for axiom, (left, right) in trials.items():
                error = float((left - right).norm() / right.norm().clamp_min(1e-12))
                if not error <= tolerance:
                    raise AxiomViolation(
                        got=f"a relative error of {error:.2g} in the {axiom} axiom of {action.sentence!r} at {path!r}",
                        expected=f"at most {tolerance:g}",
                        remedy="The declared action is not a representation of the group; correct it before any score.",
                    )

    def save(self, path: str | Path) -> Path:
        """Write ``symmetry.yaml`` and ``symmetry.safetensors``, which every callback accepts in place of a sentence.

        A learnt group is written as it stands, as fixed generators.

        Args:
            path: A folder, or the YAML file.

        Raises:
            InvalidSetting: The folder cannot be written, or the symmetry has seen no data yet.
        """
        group: dict[str, Any] = {"sentence": self.group.sentence}
        tensors: dict[str, Tensor] = {}
        if isinstance(self.group, (Learned, Given)):
            if self.group.dim is None:
                raise InvalidSetting("a learnt group without dimension", "one that has seen data", "Train or bind it.")
            group = {"sentence": "given", "dim": self.group.dim, "affine": self.group.affine}
            tensors["basis"] = self.group.basis()
        for key, side in (("input", self.input), ("output", self.output)):
            for path_, action in side.moving:
                if isinstance(action, Representation):
                    tensors[f"{key}.{path_}"] = action.generators()
        document = {
            "name": self.name,
            "sentence": f"{group['sentence']} on {self.input.sentence} -> {self.output.sentence}",
            "group": group,
            "law": {"name": type(self.sampler).__name__, "width": self.sampler.widths.tolist()},
            "input": self.input.sentence,
            "output": self.output.sentence,
        }
        return write_archive(path, document, tensors)

    @classmethod
    def load(cls, path: str | Path) -> Symmetry:
        """Read a saved symmetry.

        Raises:
            InvalidFile: A file is missing, truncated, or not what it should be.
        """
        document, tensors = read_archive(path)
        try:
            group = document["group"]
            over: Group
            if group["sentence"] == "given":
                over = Given(tensors["basis"], affine=bool(group["affine"]))
            else:
                over = groups.by_name(group["sentence"])
            law = samplers.by_name(document["law"]["name"], over, width=document["law"]["width"])
            symmetry = cls(law, document["input"], document["output"], document["name"])
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidFile(
                got=f"{path}, which lacks {error}",
                expected="name, group, law, input and output",
                remedy="Save it again with Symmetry.save.",
            ) from error
        for key, side in (("input", symmetry.input), ("output", symmetry.output)):
            for path_, action in side.moving:
                if isinstance(action, Representation):
                    action.restore(tensors[f"{key}.{path_}"])
        return symmetry


def _match(module: nn.Module, leaf: Tensor) -> None:
    module.to(device=leaf.device, dtype=torch.promote_types(leaf.dtype, torch.float32))


def _build_sampler(over: str | Group | Sampler | None) -> Sampler:
    if isinstance(over, str):
        over = groups.by_name(over)
    if over is None:
        over = Learned(count=None)
    if isinstance(over, Group):
        # one active generator a draw gives statistics per generator for free
        return OneHot(over) if isinstance(over, Learned) else Uniform(over)
    return over if over.group is not None else over.with_group(Learned(count=None))


def _name_from(sentence: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in sentence.replace("->", " to ")).split()
    return "_".join(words).lower()
