"""Depth along rays whose densities are known in closed form."""

import math

import pytest
import torch

from nerf3d.core import Box, Cameras, Radiance, Samples, Scene
from nerf3d.core.cameras import look_at
from nerf3d.errors import InputError
from nerf3d.export.depth import MOST_CAMERAS, MOST_RAYS, all_around, depth_pictures, median_distance
from nerf3d.export.fusion import fused_surface
from nerf3d.render.stratified import Stratified

BOX = Box.cube(1.0)
UP = torch.tensor([0.0, 0.0, 1.0])


class Ball:
    """Radius 0.6; what a ray meets on its way through is `depth` times the length in it."""

    def __init__(self, density: float) -> None:
        self.inside = density

    def density(self, x: torch.Tensor) -> torch.Tensor:
        return self.inside * (x.norm(dim=-1) < 0.6)

    def __call__(self, x: torch.Tensor, d: torch.Tensor) -> Radiance:
        return Radiance(self.density(x), torch.zeros(len(x), 3))


def scene_of(density: float, size: int = 16) -> Scene:
    pose = look_at(torch.tensor([0.0, -3.0, 0.0]), torch.zeros(3), UP)[None]
    cameras = Cameras.pinhole(pose, 1.2 * size, size, size)
    return Scene(Ball(density), Stratified(BOX, 400), torch.ones(3), cameras, BOX, UP)


def test_the_worked_example() -> None:
    edges = torch.tensor([[1.0, 2.0, 4.0]])
    density = torch.tensor([math.log(2) / 2, math.log(2) / 2])
    median, opacity = median_distance(density, Samples.from_edges(edges))
    assert median.tolist() == pytest.approx([3.0])
    assert opacity.tolist() == pytest.approx([1 - 2**-1.5])


def test_a_leaf_before_a_wall_is_met_or_the_wall_but_never_the_air_between() -> None:
    edges = torch.tensor([[1.0, 1.01, 5.0, 5.01]]).repeat(3, 1)
    thin, half, thick = 0.4, 0.6, 5.0  # the leaves' optical depths: 33, 45 and 99 % of the light stay in them
    density = torch.tensor([[leaf / 0.01, 0.0, 1000.0] for leaf in (thin, half, thick)]).reshape(-1)
    median, opacity = median_distance(density, Samples.from_edges(edges))
    assert median[:2].tolist() == pytest.approx([5.0, 5.0], abs=0.01)
    assert float(median[2]) == pytest.approx(1.0, abs=0.01)
    assert float(opacity.min()) > 0.99


def test_rays_without_samples_and_rays_that_get_through() -> None:
    samples = Samples(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([1]), torch.tensor([0, 0, 1, 1]))
    median, opacity = median_distance(torch.tensor([0.5]), samples)
    assert bool(median.isnan().all())
    assert opacity.tolist() == pytest.approx([0.0, 1 - math.exp(-0.5), 0.0])


def test_a_dense_ball_is_seen_where_it_is_and_beside_it_is_nothing() -> None:
    seen = depth_pictures(scene_of(2000.0), scene_of(2000.0).cameras)
    rays = seen.cameras.rays(0)
    b = (rays.origin * rays.direction).sum(-1)
    square = b * b - 9 + 0.36
    truth = torch.where(square > 0, -b - square.clamp_min(0).sqrt(), torch.inf).reshape(16, 16)
    clear = (square.abs() > 0.02).reshape(16, 16)  # off the outline
    (depth,) = seen.depth
    assert torch.equal(depth.isinf()[clear], truth.isinf()[clear])
    hit = clear & truth.isfinite()
    assert int(hit.sum()) > 40
    assert float((depth - truth)[hit].abs().max()) < 0.006  # an interval is 0.005 long


def test_what_is_half_transparent_has_no_depth() -> None:
    seen = depth_pictures(scene_of(1.0), scene_of(1.0).cameras)  # at most 1 - exp(-1.2) = 70 % stay
    assert not bool(seen.depth.isfinite().any())
    assert bool(seen.depth[0, 8, 8].isnan())
    assert bool(seen.depth[0, 0, 0].isinf())


def test_a_field_without_opacity_has_no_surface() -> None:
    scene = scene_of(0.0)
    with pytest.raises(InputError, match="No camera sees a surface"):
        fused_surface(depth_pictures(scene, scene.cameras), BOX, 16)


def test_many_cameras_and_large_pictures_are_thinned_out() -> None:
    class Asked(Exception):
        pass

    def refuse(field, rays, rng):
        assert len(rays) <= 4096
        raise Asked

    one = scene_of(1.0).cameras
    many = one[torch.zeros(700, dtype=torch.int64)].scaled_to(4000, 3000)
    scene = Scene(Ball(1.0), refuse, torch.ones(3), many, BOX, UP)
    with pytest.raises(Asked):
        depth_pictures(scene, many)
    small = one[torch.zeros(7 * MOST_CAMERAS, dtype=torch.int64)].scaled_to(2, 2)
    empty = Scene(Ball(0.0), Stratified(BOX, 4), torch.ones(3), small, BOX, UP)
    counted: list[tuple[int, int]] = []
    seen = depth_pictures(empty, small, lambda done, all_of_them: counted.append((done, all_of_them)))
    assert seen.depth.shape == (MOST_CAMERAS, 2, 2)
    assert counted[-1] == (MOST_CAMERAS, MOST_CAMERAS)
    assert seen.depth.numel() <= MOST_RAYS


def test_cameras_all_around_look_at_the_middle_from_every_side() -> None:
    given = scene_of(1.0).cameras
    cameras = all_around(given, 32)
    assert torch.allclose(cameras.center.norm(dim=-1), torch.full((32,), 3.0), atol=1e-5)
    assert torch.allclose(cameras.forward, -cameras.center / 3, atol=1e-5)
    assert torch.equal(cameras.intrinsics, given.intrinsics.expand(32, 4))
    every = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    nearest = (every @ cameras.center.T / 3).amax(-1)
    assert float(nearest.min()) > math.cos(math.radians(32))  # no direction is farther than that from a camera
