"""A group of generators that are written down or were saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch, InvalidFile, InvalidSetting
from lightning_symmetry.functional.expm import expm
from lightning_symmetry.functional.precision import working_dtype
from lightning_symmetry.groups.base import Group
from lightning_symmetry.groups.element import Element, Kind
from lightning_symmetry.groups.parts import ProductElement


@final
class Given(Group):
    """The group of fixed generators.

    Args:
        basis: K square matrices of size n, as a nested list, a tensor, or the path of a .safetensors file that holds
            them alone or under the key "basis".
        name: Short name for reports; by default "given".
        affine: Whether the matrices are homogeneous, (d+1, d+1) with last row zero; None lets the data's dimension
            tell.
        values: Whether two more rows and columns follow, a diagonal block that changes the values of images as
            ``intensity`` does; ``affine`` has to be told then.

    Raises:
        InvalidFile: The file is missing or holds something else.
        InvalidSetting: They are not square matrices of finite numbers, or homogeneous ones whose last row is not zero,
            or not block-diagonal.

    Example:
        >>> Given([[[0, -1], [1, 0]]]).bind(2).exp(torch.tensor([[torch.pi]])).linear.round().diagonal(dim1=1, dim2=2)
        tensor([[-1., -1.]])
    """

    def __init__(
        self,
        basis: list[Any] | str | Path | Tensor,
        name: str | None = None,
        affine: bool | None = None,
        values: bool = False,
    ) -> None:
        super().__init__(None)
        self._source = basis if isinstance(basis, (str, Path)) else None
        self.name = name or "given"
        self._given_affine = self._affine = affine
        matrices = _read(basis) if isinstance(basis, (str, Path)) else torch.as_tensor(basis)
        matrices = matrices.detach().clone() if matrices.is_floating_point() else matrices.float()
        if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or not bool(matrices.isfinite().all()):
            raise InvalidSetting(
                f"a basis of shape {tuple(matrices.shape)}", "finite matrices (K, n, n)", "Stack one a generator."
            )
        self._basis: Tensor
        self.register_buffer("_basis", matrices)
        self._shares = nn.ModuleList(self._split(matrices) if values else [])
        if affine is not None:
            self.bind(matrices.shape[-1] - affine - 2 * values)

    def _split(self, matrices: Tensor) -> list[Group]:
        """Make the group of the space and that of the values, each with all K generators."""
        size = matrices.shape[-1] - 2
        space, values = matrices[:, :size, :size], matrices[:, size:, size:]
        apart = size > 0 and not bool(matrices[:, :size, size:].any() | matrices[:, size:, :size].any())
        if not apart or self._affine is None:
            raise InvalidSetting(
                f"generators of shape {tuple(matrices.shape)} with values, affine={self._affine}",
                "a block of the space and one of the values, (K, n + 2, n + 2), and affine",
                "Say whether the block of the space is homogeneous, and fill the rest with zeros.",
            )
        return [Given(space, affine=self._affine), self.makers["intensity"](values)]

    def part(self, kind: Kind) -> Group | None:
        """Give itself, or with values what moves the space and what changes the values."""
        if not self._shares:
            return super().part(kind)
        space, values = cast("list[Group]", list(self._shares))
        return space if kind == "space" else values if kind == "values" else None

    @property
    def count(self) -> int:
        """Number K of generators."""
        return self._basis.shape[0]

    @property
    def affine(self) -> bool:
        """Whether it translates; as long as nobody has said so, it does not."""
        return bool(self._affine)

    @property
    def sentence(self) -> str:
        """The group as the grammar reads it back."""
        source = repr(str(self._source)) if self._source is not None else str(self._basis.tolist())
        words = [source]
        if self.name != "given":
            words.append(f"name={self.name!r}")
        if self._given_affine is not None:
            words.append(f"affine={self._given_affine}")
        if self._shares:
            words.append("values=True")
        return f"given({', '.join(words)})"

    def basis(self) -> Tensor:
        """Give the generators, (K, n, n)."""
        return self._basis

    def dump(self) -> dict[str, Any]:
        """Describe the generators; their file is not needed again."""
        if self.dim is None:
            raise InvalidSetting("given generators without dimension", "ones that have seen data", "Bind the group.")
        values = {"values": True} if self._shares else {}
        return {"sentence": "given", "dim": self.dim, "affine": self.affine, "basis": self.basis(), **values}

    def bind(self, dim: int | None, affine: bool | None = None) -> Self:
        """Complete a dimension that was left open, or check the one that was given."""
        if dim is None or dim == self.dim:
            return self
        size = self._basis.shape[-1] - 2 * bool(self._shares)
        if self.dim is not None or size not in (dim, dim + 1):
            raise DimensionMismatch(
                f"data in {dim} dimensions",
                f"{self.dim or f'{size}, or {size - 1} if the generators are homogeneous'}",
                "Use generators that are as large as the data's space.",
            )
        if size == dim + 1 and bool(self._basis[:, size - 1].any()):
            raise InvalidSetting("homogeneous generators with another last row", "last row zero", "Correct it.")
        self._affine = size == dim + 1
        self.dim = dim
        return self

    def fix(self, coefficients: Tensor | None = None) -> Group:
        """Make the group of fixed generators of this kind."""
        basis = self._basis if coefficients is None else coefficients.detach()
        return Given(basis, affine=self.affine, values=bool(self._shares))

    def exp(self, t: Tensor) -> Element:
        """Make elements from coordinates (B, K)."""
        if not self._shares:
            return super().exp(t)
        t = t.to(working_dtype(t.dtype))
        space, values = (share.exp(t) for share in cast("list[Group]", list(self._shares)))
        return ProductElement(space, None, values, t)

    def field(self, p: Tensor) -> Tensor:
        """Give the velocity of points under each generator, (B, N, K, d)."""
        return cast("Group", self._shares[0]).field(p) if self._shares else super().field(p)

    def _exponential(self, matrix: Tensor) -> Tensor:
        return expm(matrix, "affine" if self.affine else "general")


def _read(path: str | Path) -> Tensor:
    remedy = "Save one tensor (K, n, n) under the key 'basis'."
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InvalidFile(f"{path} ({type(error).__name__})", "a readable .safetensors file", remedy) from error
    if "basis" not in tensors and len(tensors) != 1:
        raise InvalidFile(f"{path} with {sorted(tensors)}", "the key 'basis'", remedy)
    return tensors.get("basis", next(iter(tensors.values())))


Group.makers["given"] = Given
