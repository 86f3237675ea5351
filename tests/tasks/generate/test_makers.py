"""What adversarial training leaves behind: one form for tri-planes, sines and fields of shape and appearance."""

from dataclasses import replace

import pytest
import torch

from nerf3d.core import Box, Field, Sampler
from nerf3d.data.collections.poses import PosePrior
from nerf3d.errors import InputError
from nerf3d.models.critic import CriticConfig
from nerf3d.models.generator import TriPlaneGeneratorConfig
from nerf3d.models.graf import GRAFGeneratorConfig, even_grid
from nerf3d.models.pigan import PiGANGeneratorConfig
from nerf3d.models.super_resolution import SuperResolutionConfig
from nerf3d.render.hierarchical import Hierarchical
from nerf3d.tasks.generate.maker import Maker
from nerf3d.tasks.generate.makers import Generator, Makers
from nerf3d.tasks.generate.recipe import EG3D, GRAF, PiGAN
from nerf3d.tasks.generate.sights import seen

PLANES = TriPlaneGeneratorConfig(
    z=4, w=8, channels=(8, 8), plane_features=4, decoder_width=8, color_channels=3, pose=0, noise=False
)
RECIPES = [
    EG3D(PLANES, samples=4),
    PiGAN(PiGANGeneratorConfig(z=4, width=8, depth=2, mapping_width=8), samples=4),
    GRAF(GRAFGeneratorConfig(shape=3, appearance=1, width=8, depth=2, color_width=4), samples=4),
]
RAISED = EG3D(
    replace(PLANES, pose=25, color_channels=7),
    CriticConfig(channels=(8, 8, 8), picture_channels=6),
    reader=None,
    samples=4,
    fine=3,
    super_resolution=SuperResolutionConfig(raw=4, channels=(6, 5)),
    background="white",
)
BOX = Box.cube(1.0)
every_recipe = pytest.mark.parametrize("recipe", [*RECIPES, RAISED], ids=["EG3D", "PiGAN", "GRAF", "raised"])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every_recipe
@torch.no_grad()
def test_all_of_them_are_makers(recipe) -> None:
    before = torch.get_rng_state()
    maker = Makers(recipe, BOX, rng())
    assert isinstance(maker, Maker)
    assert isinstance(maker.sampler, Sampler)
    assert isinstance(maker.generator, Generator)
    maker.average.track(
        maker.average.codes(
            torch.randn(8, 4, generator=rng(1)), maker.pose.expand(8, -1) if maker.average.pose else None
        )
    )
    codes = maker.draw(3, rng(2))
    assert torch.equal(codes, maker.draw(3, rng(2)))
    assert torch.equal(torch.get_rng_state(), before)
    usual = maker.average.usual()
    assert codes.shape == (3, *usual.shape)
    torch.testing.assert_close(maker.draw(3, rng(2), 0.0), usual.expand_as(codes))
    torch.testing.assert_close(maker.draw(3, rng(2), 0.5), 0.5 * (codes + usual))
    assert torch.equal(maker.read(torch.rand(2, 8, 8, 4, generator=rng())), usual.expand(2, *usual.shape))
    with pytest.raises(InputError, match="knows no 'a car'"):
        maker.draw(1, rng(), kind="a car")
    x = torch.rand(10, 3, generator=rng())
    fields = maker.fields(codes)
    assert all(isinstance(field, Field) and field(x, x).color.shape == (10, 3) for field in fields)
    assert not torch.allclose(fields[0].density(x), fields[1].density(x))


@every_recipe
def test_gradients_flow_into_the_codes(recipe) -> None:
    maker = Makers(recipe, BOX, rng())
    codes = maker.draw(2, rng(1)).clone().requires_grad_()
    x = torch.rand(10, 3, generator=rng())
    out = maker.fields(codes)[0](x, x)
    (out.density.sum() + out.color.sum()).backward()
    assert codes.grad is not None
    assert float(codes.grad[0].abs().max()) > 0
    assert float(codes.grad[1].abs().max()) == 0
    assert all(p.grad is None for p in maker.parameters())


@torch.no_grad()
def test_what_is_drawn_is_told_one_pose() -> None:
    maker = Makers(RAISED, BOX, rng())
    maker.pose.copy_(torch.randn(25, generator=rng(3)))
    z = torch.randn(2, 4, generator=rng(1))
    torch.testing.assert_close(maker.draw(2, rng(1)), maker.average.codes(z, maker.pose.expand(2, -1)))
    assert not torch.allclose(maker.draw(2, rng(1)), maker.average.codes(z, -maker.pose.expand(2, -1)))
    other = Makers(RAISED, BOX, rng(9))
    other.load_state_dict(maker.state_dict())
    assert torch.equal(other.draw(2, rng(1)), maker.draw(2, rng(1)))  # the pose travels with the state


@torch.no_grad()
def test_a_second_look_is_where_the_field_is() -> None:
    maker = Makers(RAISED, BOX, rng())
    field = maker.average.fields(maker.draw(1, rng()))[0]
    rays = PosePrior().cameras(1, 4, rng()).rays(0)
    found = maker.sampler(field, rays, rng(5))
    expected = Hierarchical(field, BOX, 4, 3)(field, rays, rng(5))
    assert torch.equal(found.start, expected.start)
    counts = found.offsets.diff()
    assert set(counts.tolist()) <= {0, 7}
    assert int(counts.max()) == 7


@torch.no_grad()
def test_finished_pictures_went_through_super_resolution() -> None:
    maker = Makers(replace(RAISED, raw=replace(RAISED.raw, value=4.0)), BOX, rng())
    cameras, codes = PosePrior().cameras(2, 32, rng()), maker.draw(2, rng(1))
    finished = maker.finished(codes, cameras)
    assert finished.shape == (2, 16, 16, 3)
    fields = maker.average.fields(codes)
    raw = seen(fields, cameras, even_grid(4, 4).expand(2, -1, -1, -1), maker.sampler, "white", None)
    torch.testing.assert_close(finished, maker.average.upsampler(raw, codes[:, -1]).clamp(0, 1))
    plain = Makers(RECIPES[1], BOX, rng())
    codes = plain.draw(2, rng(1))
    seen_alone = seen(
        plain.fields(codes), cameras, even_grid(32, 32).expand(2, -1, -1, -1), plain.sampler, "black", None
    )
    torch.testing.assert_close(plain.finished(codes, cameras), seen_alone)


@torch.no_grad()
def test_the_running_mean_takes_what_is_no_weight_as_it_is() -> None:
    maker = Makers(RECIPES[1], BOX, rng())
    maker.generator.track(torch.ones(4, 2, 3, 8))
    maker.generator.trunk[0].weight.add_(1.0)
    before = maker.average.trunk[0].weight.clone()
    maker.follow(0.9)
    torch.testing.assert_close(maker.average.trunk[0].weight, before + 0.1)
    torch.testing.assert_close(maker.average.usual(), maker.generator.usual())
    assert float(maker.average.usual().abs().max()) > 0
