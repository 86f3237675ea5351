from itertools import islice

import pytest
import torch

from nerf3d.core.paths import standing
from nerf3d.data.world import examples as module
from nerf3d.data.world.captions import COLORS, PAIRED, Thing, held_out, understand
from nerf3d.data.world.examples import SIZE, examples, random_cameras, random_directions
from nerf3d.data.world.nouns import nouns
from nerf3d.data.world.picture import backdrop, light, paint, paints
from nerf3d.data.world.trace import Surface


@pytest.fixture(autouse=True)
def simple_nouns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the two meshes, which take a while to become distances."""
    few = tuple(noun for noun in nouns() if noun.name not in ("cow", "teapot"))
    monkeypatch.setattr(module, "nouns", lambda: few)


def drawn(seed: int, count: int, unseen: bool = False) -> list[module.Example]:
    rng = torch.Generator().manual_seed(seed)
    return list(islice(examples(rng, views=2, dresses=2, unseen=unseen), count))


def test_a_seed_says_all() -> None:
    one, again, other = drawn(3, 8), drawn(3, 8), drawn(4, 8)
    for a, b in zip(one, again, strict=True):
        assert torch.equal(a.picture, b.picture)
        assert (str(a.description), a.azimuth, a.elevation) == (str(b.description), b.azimuth, b.elevation)
    assert any(not torch.equal(a.picture, b.picture) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("unseen", [False, True])
def test_held_out_pairs_come_only_where_they_are_asked_for(unseen: bool) -> None:
    for example in drawn(0, 32, unseen):
        assert example.picture.shape == (SIZE, SIZE, 3)
        assert understand(str(example.description)) == example.description
        assert {held_out(thing.noun, thing.color) for thing in example.description.things} == {unseen}
        if example.description.second is not None:
            assert {thing.noun for thing in example.description.things} <= set(PAIRED)


def test_directions_are_even_on_the_sphere() -> None:
    azimuth, elevation = random_directions(20_000, torch.Generator().manual_seed(0))
    assert 0 <= float(azimuth.min()) < 1
    assert 359 < float(azimuth.max()) <= 360
    assert -12 <= float(elevation.min()) < -11
    assert 83 < float(elevation.max()) <= 85
    height = torch.sin(torch.deg2rad(elevation))
    middle = float(torch.sin(torch.deg2rad(torch.tensor([-12.0, 85.0]))).mean())
    assert float(height.mean()) == pytest.approx(middle, abs=0.01)


def test_random_cameras_see_the_ball_whole() -> None:
    """The ball of radius 0.8 stays inside of the picture, and fills at least half of its width."""
    rng = torch.Generator().manual_seed(0)
    cameras = random_cameras(*random_directions(200, rng), rng)
    focal = cameras.intrinsics[:, 0]
    distance = cameras.center.norm(dim=-1)
    angle = torch.asin(0.8 / distance)
    half = focal * torch.tan(angle)
    assert float(half.max()) < cameras.width / 2
    assert float(half.min()) > 0.3 * cameras.width


def test_a_camera_at_azimuth_0_looks_at_the_front_and_one_at_90_stands_at_x() -> None:
    cameras = standing(torch.tensor([0.0, 90.0]), torch.zeros(2), torch.full((2,), 3.0), torch.full((2,), 40.0), 8)
    assert cameras.center.tolist() == [pytest.approx([0, -3, 0], abs=1e-5), pytest.approx([3, 0, 0], abs=1e-5)]


def flat(count: int) -> Surface:
    """Points along z that face the viewer at -y."""
    position = torch.zeros(count, 3)
    position[:, 2] = torch.linspace(-0.5, 0.5, count)
    return Surface(
        torch.zeros(count, dtype=torch.int8), position, torch.tensor([[0.0, -1, 0]]).expand(count, 3).clone()
    )


def second_of(color: str) -> str:
    """The name of what a colour's stripes alternate with."""
    values = paints(Thing("cube", color, "striped"), 1, 1.0, torch.zeros(3))[0].second.tolist()
    return next(name for name, value in COLORS.items() if list(value) == pytest.approx(values))


def test_patterns_alternate_with_another_colour_and_never_the_other_way_round() -> None:
    pairs = {(color, second_of(color)) for color in COLORS}
    assert not pairs & {(b, a) for a, b in pairs}  # or one picture would have two names
    for color, second in (("red", "white"), ("white", "black"), ("black", "grey")):
        coats = paints(Thing("cube", color, "striped"), 1, 1.0, torch.zeros(3))
        found = {tuple(round(v, 3) for v in pixel) for pixel in paint(flat(200), coats).tolist()}
        assert found == {tuple(round(v, 3) for v in COLORS[name]) for name in (color, second)}
        assert paint(flat(201), coats)[100].tolist() == pytest.approx(COLORS[color])  # the middle has the name's
    plain = paints(Thing("cube", "red"), 1, 1.0, torch.zeros(3))
    assert len({tuple(pixel) for pixel in paint(flat(200), plain).tolist()}) == 1


def test_light_from_the_front_from_behind_and_on_gloss() -> None:
    surface, look = flat(1), torch.tensor([[0.0, 1, 0]])
    color, dull, glossy = torch.full((1, 3), 0.5), torch.zeros(1), torch.ones(1)
    front, behind = torch.tensor([0.0, -1, 0]), torch.tensor([0.0, 1, 0])
    assert light(surface, color, dull, look, front).tolist() == [pytest.approx([0.5] * 3)]
    assert light(surface, color, dull, look, behind).tolist() == [pytest.approx([0.5 * 0.6] * 3)]
    assert light(surface, color, glossy, look, front).min() == 1.0  # the highlight: 0.9 on top


def test_gloss_shows_from_every_side_on_every_colour() -> None:
    """A ball of normals, without the light's own highlight: what is mirrored is lighter above and darker below."""
    normal = torch.nn.functional.normalize(torch.randn(400, 3, generator=torch.Generator().manual_seed(3)), dim=-1)
    ball = Surface(torch.zeros(400, dtype=torch.int8), torch.zeros(400, 3), normal)
    for look in (torch.tensor([0.0, 1, 0]), torch.tensor([0.8, 0, -0.6])):
        for name, value in COLORS.items():
            seen = (normal @ look < -0.1) & (normal @ look > -0.9)
            rays, color, behind = look.expand(400, 3), torch.tensor(value).expand(400, 3), look
            dull, glossy = (light(ball, color, s * torch.ones(400), rays, behind)[seen] for s in (0.0, 1.0))
            assert float((glossy - dull).abs().mean()) > 0.08, name
            above = (look - 2 * (normal @ look)[:, None] * normal)[seen][:, 2]
            assert float(glossy[above > 0.4].mean()) > float(glossy[above < -0.2].mean()) + 0.2, name


def test_a_background_is_told_from_what_is_in_front() -> None:
    rng = torch.Generator().manual_seed(0)
    front = torch.tensor([COLORS["grey"], COLORS["red"]])
    for _ in range(50):
        behind = backdrop(16, front, rng)
        assert behind.shape == (16, 16, 3)
        assert 0 <= float(behind.min()) <= float(behind.max()) <= 1
        assert float((front - behind.mean((0, 1))).norm(dim=-1).min()) > 0.15
