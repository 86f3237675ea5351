import pytest
import torch

from nerf3d.core.paths import standing
from nerf3d.data.world.captions import COLORS, understand
from nerf3d.data.world.cars import NAMES, Car, color_name, paints, parts, random_car, random_color
from nerf3d.data.world.trace import Surface, trace

BODY, GLASS, TYRES, RIMS, HEADLIGHTS, TAIL_LIGHTS = range(6)
SALOON = Car(0.8, 0.1, 0.1, 1.5, 0.6, 0.26, 0.05, 0.8, 0.26, 0.14, 0.07)
GROUND = -SALOON.tall / 2
MIDDLE = GROUND + SALOON.clearance + SALOON.height / 2


def drawn(count: int, seed: int = 0) -> list[Car]:
    rng = torch.Generator().manual_seed(seed)
    return [random_car(rng) for _ in range(count)]


def seen(car: Car, azimuth: float, elevation: float = 15.0, size: int = 32) -> Surface:
    each = (torch.tensor([v]) for v in (azimuth, elevation, 2.9238, 40.0))
    return trace(parts(car), standing(*each, size).rays(0))


def test_a_thousand_cars_differ_and_a_seed_says_all() -> None:
    cars = drawn(1000)
    values = torch.stack([car.values for car in cars])
    assert values.shape == (1000, len(NAMES))
    assert all(len(column.unique()) > 950 for column in values.T[3:])
    assert torch.equal(values, torch.stack([car.values for car in drawn(1000)]))
    assert not torch.equal(values[:5], torch.stack([car.values for car in drawn(5, seed=1)]))
    assert torch.equal(Car.of(values[7]).values, values[7])
    spread = values.std(0) / values.mean(0)
    assert float(spread[[3, 4, 5, 7, 8, 9, 10]].min()) > 0.05


def test_cars_are_possible() -> None:
    for car in drawn(300):
        assert 2 * car.wheel_radius < car.clearance + car.height < car.tall  # wheels below the bonnet
        assert -car.length / 2 < car.cabin_position - car.cabin_length / 2
        assert car.cabin_position + car.cabin_length / 2 < car.length / 2
        assert 0 < car.clearance < car.wheel_radius
        corner = torch.tensor([car.width / 2 + 0.03, car.length / 2 + 0.03, car.tall / 2 - car.clearance])
        assert float(corner.norm()) < 1


def test_surfaces_lie_where_the_measures_say() -> None:
    body, _, tyres, _, headlights, tail_lights = parts(SALOON)
    on = torch.tensor([[0.3, 0, MIDDLE], [0, -0.75, MIDDLE], [0, 0.75, MIDDLE], [0, 0, GROUND + SALOON.clearance]])
    assert body(on).tolist() == pytest.approx([0] * 4, abs=1e-5)
    roof = torch.tensor([[0.0, 0.1, SALOON.tall / 2]])
    assert float(body(roof)) == pytest.approx(-0.01, abs=1e-5)
    foot = torch.tensor([[0.26, y, GROUND] for y in (-0.31 * 1.5, 0.31 * 1.5)])
    assert tyres(foot).tolist() == pytest.approx([0, 0], abs=1e-5)
    lamp = torch.tensor([[0.2, -0.75, MIDDLE + 0.03], [0.2, 0.75, MIDDLE + 0.03]])
    assert (headlights(lamp) < 0).tolist() == [True, False]
    assert (tail_lights(lamp) < 0).tolist() == [False, True]


def test_distances_never_claim_too_much_and_left_is_like_right() -> None:
    """No distance changes faster than its point moves (1-Lipschitz), or rays would pass through."""
    rng = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(4000, 3, generator=rng) - 1
    step = 0.05 * torch.randn(4000, 3, generator=rng)
    for part in parts(drawn(1)[0]):
        change = (part(x + step) - part(x)).abs()
        assert bool((change <= step.norm(dim=-1) + 1e-5).all())
        assert torch.allclose(part(x), part(x * torch.tensor([-1.0, 1, 1])), atol=1e-6)


def test_the_front_differs_from_the_back() -> None:
    for car in drawn(2):
        front, back, side = seen(car, 0.0).part, seen(car, 180.0).part, seen(car, 90.0).part
        count = [{i: int((view == i).sum()) for i in range(6)} for view in (front, back, side)]
        assert min(count[0][HEADLIGHTS], count[1][TAIL_LIGHTS]) > 2
        assert count[0][TAIL_LIGHTS] == count[1][HEADLIGHTS] == 0
        assert count[2][RIMS] > 3
        assert all(each[kind] > 8 for each in count for kind in (BODY, GLASS))
        assert count[2][TYRES] > 8


def test_the_box_holds_all_that_is_seen() -> None:
    for car in drawn(2):
        for azimuth in (10.0, 130.0):
            surface = seen(car, azimuth, 40.0)
            met = surface.part >= 0
            assert bool(car.box.contains(surface.position[met]).all())
            assert float(met.float().mean()) > 0.08


def test_captions_say_a_colour_that_is_near() -> None:
    for name, color in COLORS.items():
        assert color_name(color) == name
    rng = torch.Generator().manual_seed(0)
    said = [color_name(random_color(rng)) for _ in range(1500)]
    assert set(said) == set(COLORS)
    assert max(said.count(name) for name in COLORS) < 0.3 * len(said)
    assert understand(SALOON.caption) is not None
    assert SALOON.caption == "a red car"


def test_every_part_has_its_paint() -> None:
    coats = paints(SALOON)
    assert len(coats) == len(parts(SALOON))
    assert coats[BODY].color.tolist() == pytest.approx([0.8, 0.1, 0.1])
    assert float(coats[GLASS].color.max()) < 0.2
    assert float(coats[TYRES].color.max()) < 0.2
