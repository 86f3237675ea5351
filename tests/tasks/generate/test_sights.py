"""What a critic is shown: of real pictures, of fields, and of both through a bell."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from nerf3d.core import Box
from nerf3d.core.schedules import Constant, Decay, Ramp
from nerf3d.data.collections.poses import PosePrior
from nerf3d.errors import InputError
from nerf3d.models.critic import dual
from nerf3d.models.graf import even_grid, look_up
from nerf3d.models.pigan import PiGANGeneratorConfig
from nerf3d.models.super_resolution import SuperResolutionConfig
from nerf3d.render.stratified import Stratified
from nerf3d.tasks.generate.looks import picture
from nerf3d.tasks.generate.recipe import EG3D, GRAF, PiGAN
from nerf3d.tasks.generate.sights import (
    Patches,
    Raised,
    Whole,
    blurred,
    resized,
    seen,
    shown,
    sight_of,
    softened,
    together,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(side: int = 16, channels: int = 3) -> torch.Tensor:
    return torch.rand(2, side, side, channels, generator=rng(1))


def test_whole_pictures_grow() -> None:
    sight = Whole(16, (4, 8, 16), (0.25, 0.5))
    for progress, size in ((0.0, 4), (0.24, 4), (0.25, 8), (0.49, 8), (0.5, 16), (0.99, 16)):
        grids = sight.grids(progress, 2, rng())
        assert torch.equal(grids, even_grid(size, size).expand(2, -1, -1, -1))
        (real,) = sight.real(pictures(), grids)
        torch.testing.assert_close(real, blurred(pictures(), 16 // size))
        (made,) = sight.made(pictures(size), torch.zeros(2, 4), None)
        torch.testing.assert_close(made, resized(pictures(size), 16))
        assert real.shape == made.shape == (2, 16, 16, 3)


def test_raw_pictures_come_beside_finished_ones() -> None:
    sight = Raised(Ramp(8.0, 16.0))
    assert [sight.grids(p, 1, rng()).shape[1] for p in (0.0, 0.5, 1.0)] == [8, 12, 16]
    grids = sight.grids(0.0, 2, rng())
    real = sight.real(pictures(), grids)
    assert torch.equal(real[0], pictures())
    assert real[1].shape == (2, 8, 8, 3)
    torch.testing.assert_close(real[1].mean((1, 2)), pictures().mean((1, 2)), atol=0.01, rtol=0)
    network = SuperResolutionConfig(raw=8, channels=(4, 4), doubled=(True, False)).build(5, 3, rng())
    codes = torch.randn(2, 4, 3, generator=rng(2))
    finished, raw = sight.made(pictures(8, 5), codes, network)
    torch.testing.assert_close(finished, network(pictures(8, 5), codes[:, 3]))  # the last layer's w
    assert torch.equal(raw, pictures(8, 5)[..., :3])
    torch.testing.assert_close(together((finished, raw)), dual(finished, raw))


def test_patches_shrink_and_show_the_same_places_of_both() -> None:
    sight = Patches(4, Decay(0.9, 0.3))
    grids = sight.grids(1.0, 2, rng(3))
    assert float((grids[:, 0, 1, 0] - grids[:, 0, 0, 0]).min()) * 4 < 0.9
    assert float((sight.grids(0.0, 100, rng())[:, 0, 1, 0] * 4).min()) > 0.9
    (real,) = sight.real(pictures(), grids)
    torch.testing.assert_close(real, look_up(pictures(), grids))
    assert torch.equal(sight.made(real, torch.zeros(2, 4), None)[0], real)


@torch.no_grad()
def test_fields_are_seen_as_pictures_are() -> None:
    box = Box.cube(1.0)
    generator = PiGANGeneratorConfig(z=4, width=8, depth=2, mapping_width=8).build(box, rng())
    fields = generator.fields(generator.codes(torch.randn(2, 4, generator=rng(1))))
    cameras, sampler = PosePrior().cameras(2, 8, rng()), Stratified(box, 6)
    grids = even_grid(8, 8).expand(2, -1, -1, -1)
    alone = seen(fields, cameras, grids, sampler, "alpha", None)
    for i, field in enumerate(fields):
        torch.testing.assert_close(alone[i], picture(field, cameras, i, sampler))
    black, white = (seen(fields, cameras, grids, sampler, name, None) for name in ("black", "white"))
    torch.testing.assert_close(black, alone[..., :3])
    torch.testing.assert_close(white, alone[..., :3] + 1 - alone[..., 3:])
    part = seen(fields, cameras, grids[:, 2:4, 1:6], sampler, "white", None)
    torch.testing.assert_close(part, white[:, 2:4, 1:6])


def test_real_pictures_before_each_background() -> None:
    half = torch.tensor([200, 100, 0, 51], dtype=torch.uint8).expand(1, 2, 2, 4)
    color = torch.tensor([200, 100, 0]) / 255 * 0.2
    torch.testing.assert_close(shown(half, "alpha")[0, 0, 0], torch.cat([color, torch.tensor([0.2])]))
    torch.testing.assert_close(shown(half, "black")[0, 1, 0], color)
    torch.testing.assert_close(shown(half, "white")[0, 1, 1], color + 0.8)


def test_a_bell_has_its_width_and_leaves_even_pictures_alone() -> None:
    side = 41
    point = torch.zeros(1, side, side, 2)
    point[0, 20, 20] = torch.tensor([1.0, 3.0])
    for deviation in (1.0, 2.5, 4.0):
        soft = softened(point, deviation)
        assert soft.sum((0, 1, 2)).tolist() == pytest.approx([1, 3], abs=1e-4)
        place = torch.arange(side) - 20.0
        for axis in (1, 2):
            profile = soft[..., 0].sum((0, 3 - axis))
            assert float((profile * place).sum()) == pytest.approx(0, abs=1e-4)
            # a bell that is cut at three deviations is a little narrower
            assert float((profile * place.square()).sum().sqrt()) == pytest.approx(deviation, rel=0.04)
        one = math.exp(-0.5 / deviation**2)
        assert float(soft[0, 20, 21, 0] / soft[0, 20, 20, 0]) == pytest.approx(one, rel=1e-4)
    torch.testing.assert_close(softened(torch.full((1, 4, 4, 3), 0.3), 10.0), torch.full((1, 4, 4, 3), 0.3))
    assert torch.equal(softened(pictures(), 0.3), pictures())


def test_smaller_pictures_are_means_and_larger_ones_are_bilinear() -> None:
    assert torch.equal(resized(pictures(), 16), pictures())
    large = F.interpolate(pictures(8).permute(0, 3, 1, 2), scale_factor=2, mode="bilinear").permute(0, 2, 3, 1)
    torch.testing.assert_close(resized(pictures(8), 16), large)
    stripes = (torch.arange(16) % 2).float()[None, None, :, None].expand(1, 16, 16, 1)
    assert float((resized(stripes, 4) - 0.5).abs().max()) < 0.15


def test_recipes_look_each_in_its_own_way() -> None:
    assert sight_of(EG3D()) == Whole(32, (16, 32), (EG3D().sharp,))
    assert sight_of(PiGAN()) == Whole(32, (16, 32), (0.5,))
    assert sight_of(GRAF()) == Patches(16, GRAF().smallest)
    large = SuperResolutionConfig(raw=8, channels=(4, 4))
    assert sight_of(replace(EG3D(), super_resolution=large, background="white")) == Raised(Constant(64.0))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"sizes \[12, 32\].* do not fit a critic of 32 x 32"):
        sight_of(PiGAN(sizes=(12, 32)))
    with pytest.raises(InputError, match="each but the first needs"):
        sight_of(PiGAN(grow_at=()))
    with pytest.raises(InputError, match="pictures of 512 x 512, and this critic judges 32 x 32"):
        sight_of(EG3D(super_resolution=SuperResolutionConfig(), background="white"))
    with pytest.raises(InputError, match="background 'alpha'; make"):
        sight_of(EG3D(super_resolution=SuperResolutionConfig(raw=8)))
