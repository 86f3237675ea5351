import pytest
import torch

from nerf3d.data.collections.poses import BellElevation, EvenElevation, PosePrior
from nerf3d.errors import InputError


def angles(prior: PosePrior, count: int, rng: torch.Generator | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Azimuth and elevation in degrees of the cameras' centres."""
    x, y, z = prior.cameras(count, 8, rng).center.unbind(-1)
    return torch.rad2deg(torch.atan2(x, -y)) % 360, torch.rad2deg(torch.asin(z / prior.distance))


@pytest.mark.parametrize("chance", [True, False])
def test_cameras_are_even_on_the_sphere(chance: bool) -> None:
    prior = PosePrior((30.0, 210.0), EvenElevation(-10.0, 60.0), distance=2.0, fov=50.0)
    rng = torch.Generator().manual_seed(0) if chance else None
    azimuth, elevation = angles(prior, 4000, rng)
    assert 29.9 < float(azimuth.min()) < 31
    assert 209 < float(azimuth.max()) < 210.1
    assert float(azimuth.mean()) == pytest.approx(120, abs=3)
    low, high = torch.sin(torch.deg2rad(torch.tensor([-10.0, 60.0])))
    height = torch.sin(torch.deg2rad(elevation))
    for share in (0.1, 0.5, 0.9):
        assert float(height.quantile(share)) == pytest.approx(float(low + share * (high - low)), abs=0.02)


def test_a_bell_has_its_mean_and_deviation() -> None:
    prior = PosePrior(elevation=BellElevation(20.0, 8.0))
    for rng in (None, torch.Generator().manual_seed(0)):
        _, elevation = angles(prior, 4000, rng)
        assert float(elevation.mean()) == pytest.approx(20, abs=0.5)
        assert float(elevation.std()) == pytest.approx(8, abs=0.4)
    flat = BellElevation(80.0, 50.0).at(torch.tensor([0.0, 0.5, 0.999]))
    assert bool((flat.abs() <= 90).all())
    assert float(flat[1]) == pytest.approx(80)


def test_without_chance_it_is_always_the_same_and_with_it_a_seed_says_all() -> None:
    prior = PosePrior()
    a, b = (prior.cameras(20, 16).world_from_camera for _ in range(2))
    assert torch.equal(a, b)
    c, d, e = (prior.cameras(20, 16, torch.Generator().manual_seed(s)).world_from_camera for s in (1, 1, 2))
    assert torch.equal(c, d)
    assert not torch.equal(c, e)


def test_cameras_look_at_the_origin_and_the_unit_ball_just_fits() -> None:
    cameras = PosePrior().cameras(50, 64, torch.Generator().manual_seed(0))
    pixel, z = cameras.project(torch.arange(50), torch.zeros(50, 3))
    assert torch.allclose(pixel, torch.full((50, 2), 32.0), atol=1e-3)
    distance = torch.full((50,), 2.9238)
    assert torch.allclose(z, distance, atol=1e-3)
    reach = cameras.intrinsics[:, 0] * torch.tan(torch.asin(1 / distance))  # the ball's outline, in pixels
    assert torch.allclose(reach, torch.full((50,), 32.0), atol=0.01)


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        (PosePrior(distance=0.0), "0 units away"),
        (PosePrior(fov=180.0), "angle of view of 180 degrees"),
        (PosePrior(azimuth=(90.0, 0.0)), "azimuths from 90 to 0 degrees"),
        (PosePrior(elevation=EvenElevation(50.0, 10.0)), "elevations from 50 to 10 degrees"),
        (PosePrior(elevation=BellElevation(0.0, -1.0)), "a deviation of -1 degrees"),
    ],
)
def test_priors_that_no_camera_fits(prior: PosePrior, said: str) -> None:
    with pytest.raises(InputError, match=said):
        prior.cameras(3, 8)
