"""Folded weights answer like the unfolded ones."""

import torch

from nerf3d.models.folding import fold_constant, fold_product


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_a_constant_becomes_one_column():
    weight, x, constant = draw(5, 7), draw(20, 4), draw(3)
    unfolded = torch.cat([x, constant.expand(20, 3)], 1) @ weight.t()
    torch.testing.assert_close(torch.cat([x, torch.ones(20, 1)], 1) @ fold_constant(weight, constant).t(), unfolded)


def test_no_constant_at_all_adds_a_column_of_zeros():
    weight = draw(5, 7)
    assert torch.equal(fold_constant(weight, torch.zeros(0)), torch.cat([weight, torch.zeros(5, 1)], 1))


def test_factors_go_into_the_columns():
    weight, x, a, factor = draw(5, 7), draw(20, 4), draw(20, 3), draw(3)
    unfolded = torch.cat([x, a * factor], 1) @ weight.t()
    torch.testing.assert_close(torch.cat([x, a], 1) @ fold_product(weight, factor).t(), unfolded)
