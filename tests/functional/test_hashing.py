from __future__ import annotations

import torch

from lightning_symmetry.functional.hashing import hash_rows, hashed_normals


def test_the_hash_depends_on_the_row_alone() -> None:
    x = torch.randn(100, 3, 2)
    order = torch.randperm(100)
    assert torch.equal(hash_rows([x])[order], hash_rows([x[order]]))
    assert torch.equal(hash_rows([x])[:7], hash_rows([x[:7]]))
    assert len(hash_rows([x]).unique()) == 100


def test_the_hash_sees_places_and_types() -> None:
    x = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    assert len(hash_rows([x]).unique()) == 2
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32):
        assert len(hash_rows([x.to(dtype)]).unique()) == 2


def test_low_bits_are_evenly_filled() -> None:
    counts = torch.bincount(hash_rows([torch.arange(16000.0)[:, None]]) & 15, minlength=16)
    assert int(counts.min()) > 850 and int(counts.max()) < 1150  # 1000 +- 5 standard deviations


def test_draws_are_normal_and_follow_their_keys() -> None:
    keys = hash_rows([torch.arange(4000.0)[:, None]])
    z = hashed_normals(keys, 5)
    assert torch.equal(z[10:20], hashed_normals(keys[10:20], 5))
    assert float(z.mean().abs()) < 0.03 and float((z.var() - 1).abs()) < 0.05
    assert float((z.mT @ z / 4000 - torch.eye(5)).abs().max()) < 0.1
    assert float((z * hashed_normals(keys, 5, 1)).mean().abs()) < 0.03
