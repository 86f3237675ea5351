"""The vector-matrix field against its formula, spelled out with loops."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from nerf3d.core import Box
from nerf3d.core.numerics import normalize
from nerf3d.fields.tensorf import VectorMatrix, VectorMatrixField

TINY = VectorMatrix(resolution=5, density_rank=2, color_rank=3, color_features=4, width=8, density_shift=0.0)


def field_of(config: VectorMatrix = TINY) -> VectorMatrixField:
    field = config.build(Box.cube(1.0), torch.Generator().manual_seed(0))
    with torch.no_grad():
        field.density_planes.mul_(10)
        field.density_lines.mul_(10)
    return field


def points(count: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, generator=rng) * 2 - 1, normalize(torch.randn(count, 3, generator=rng))


def test_density_at_grid_points_is_the_formula():
    """At the grid point (i, j, k) nothing is interpolated: sum_r XY[j, i] Z[k] + XZ[k, i] Y[j] + YZ[k, j] X[i]."""
    field = field_of()
    (xy, xz, yz), (z, y, x) = field.density_planes, field.density_lines
    for i, j, k in [(0, 0, 0), (4, 4, 4), (1, 2, 3), (3, 0, 2), (2, 4, 1)]:
        raw = (xy[j, i] * z[k] + xz[k, i] * y[j] + yz[k, j] * x[i]).sum()
        position = torch.tensor([[i, j, k]]) / 4 * 2 - 1.0
        torch.testing.assert_close(field.density(position)[0], 25.0 * F.softplus(raw))


def test_defaults_are_vm_192():
    config = VectorMatrix()
    assert 3 * (config.density_rank + config.color_rank) == 192
    field = replace(config, resolution=4).build(Box.cube(1.0), torch.Generator().manual_seed(0))
    assert field.basis.weight.shape == (27, 144)
    assert field.color_network[0].in_features == 27 + 3 + 4 * 27 + 4 * 3
    assert config.resolutions(5) == (152, 180, 213, 253, 300)


def test_upsampling_onto_a_grid_that_has_the_old_points_changes_nothing():
    field = field_of()
    x, d = points()
    before = field(x, d)
    field.upsample(9)
    assert field.resolution == 9
    assert field.density_planes.shape == (3, 9, 9, 2)
    after = field(x, d)
    torch.testing.assert_close(after.density, before.density, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.color, before.color, atol=1e-4, rtol=1e-4)


def test_training_goes_on_after_upsampling():
    """With the loss of the step before still alive, as in any training loop."""
    field = field_of()
    x, _ = points()
    loss = field.density(x).sum() + field.l1() + field.tv()
    loss.backward()
    field.upsample(7)
    loss = field.density(x).sum() + field.l1() + field.tv()
    loss.backward()
    for name, parameter in field.named_parameters():
        if name.startswith("density"):
            assert parameter.grad is not None
            assert parameter.grad.shape == parameter.shape
    assert set(dict(field.named_parameters())) == set(dict(field_of().named_parameters()))


def test_upsampling_onto_another_grid_changes_little():
    field = field_of()
    x, _ = points(300)
    before = field.density(x).detach()
    field.upsample(30)
    error = (field.density(x).detach() - before).abs()
    assert 0 < float(error.mean()) < 0.05 * float(before.std())


def test_a_saved_field_is_loaded_at_its_resolution():
    field, fresh = field_of(), TINY.build(Box.cube(1.0), torch.Generator().manual_seed(7))
    field.upsample(8)
    held = list(fresh.parameters())
    fresh.load_state_dict(copy.deepcopy(field.state_dict()))
    x, d = points()
    assert fresh.resolution == 8
    assert all(a is b for a, b in zip(held, fresh.parameters()))
    assert torch.equal(fresh(x, d).color, field(x, d).color)


def test_loading_other_ranks_is_an_error():
    other = replace(TINY, density_rank=4).build(Box.cube(1.0), torch.Generator().manual_seed(0))
    with pytest.raises(RuntimeError, match="density_planes"):
        field_of().load_state_dict(other.state_dict())


@torch.no_grad()
def test_regularisers():
    field = field_of()
    for grid in (field.density_planes, field.density_lines, field.color_planes):
        grid.zero_()
    assert float(field.l1()) == 0.0
    assert float(field.tv()) == 0.0
    field.density_planes.fill_(-2.0)
    field.density_lines.fill_(0.5)
    assert float(field.l1()) == pytest.approx(2.5)
    assert float(field.tv()) == 0.0  # constant planes do not vary
    field.density_planes.copy_(torch.arange(5.0)[:, None, None].expand(3, 5, 5, 2))
    field.color_planes.copy_(3.0 * torch.arange(5.0)[:, None].expand(3, 5, 5, 3))
    assert float(field.tv()) == pytest.approx(1.0 + 9.0)
