from __future__ import annotations

import pytest
import torch

from lightning_symmetry.functional.precision import apply_matrix, working_dtype


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("rows", [(3, 3), (1, 3), (3, 1)])
def test_every_vector_is_multiplied_by_its_matrix(size: int, rows: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(rows[0], size, size, dtype=torch.float64, generator=generator, requires_grad=True)
    vectors = torch.randn(rows[1], 7, size, dtype=torch.float64, generator=generator, requires_grad=True)
    expected = torch.einsum("bij,bnj->bni", matrix.expand(3, -1, -1), vectors.expand(3, -1, -1))
    got = apply_matrix(matrix, vectors)
    torch.testing.assert_close(got, expected)
    weight = torch.randn(expected.shape, dtype=torch.float64, generator=generator)
    for a, b in zip(
        *(torch.autograd.grad((v * weight).sum(), (matrix, vectors)) for v in (got, expected)), strict=True
    ):
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradgradcheck(apply_matrix, (matrix, vectors))


def test_function_transforms_pass_through() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix, vectors = torch.randn(2, 3, 3, generator=generator), torch.randn(2, 4, 3, generator=generator)
    slope = torch.func.grad(lambda m: apply_matrix(m, vectors).square().sum())(matrix)
    expected = 2 * torch.einsum("bni,bnj->bij", vectors @ matrix.mT, vectors)
    torch.testing.assert_close(slope, expected)
    each = torch.func.vmap(lambda m, v: apply_matrix(m[None], v[None])[0])(matrix, vectors)
    torch.testing.assert_close(each, vectors @ matrix.mT)
    jacobian = torch.func.jacfwd(lambda m: apply_matrix(m, vectors))(matrix)
    torch.testing.assert_close(jacobian, torch.func.jacrev(lambda m: apply_matrix(m, vectors))(matrix))


def test_group_maths_runs_in_single_precision_at_least() -> None:
    short = (torch.float16, torch.bfloat16, torch.int64)
    assert {working_dtype(dtype) for dtype in short} == {torch.float32}
    assert working_dtype(torch.float64) == torch.float64
