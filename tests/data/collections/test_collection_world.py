import pytest
import torch

from nerf3d.core import Box
from nerf3d.core.paths import standing
from nerf3d.data.collections import world as module
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.world import (
    BOX,
    WorldObject,
    car_object,
    object_of,
    picture_of,
    render_collection,
    rendered,
    truth_of,
)
from nerf3d.data.world import distance as d
from nerf3d.data.world.captions import COLORS, understand
from nerf3d.data.world.cars import NAMES, Car
from nerf3d.data.world.nouns import nouns
from nerf3d.data.world.picture import Paint
from nerf3d.data.world.trace import trace
from nerf3d.errors import InputError

RED = torch.tensor([0.8, 0.1, 0.1])


@pytest.fixture(scope="module")
def cars() -> Collection:
    return render_collection("cars", 3, 4, 32, seed=5)


@pytest.fixture
def few_nouns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nouns that are quickly measured."""
    few = tuple(noun for noun in nouns() if noun.name in ("cube", "table", "chair"))
    monkeypatch.setattr(module, "nouns", lambda: few)


def ball(radius: float) -> WorldObject:
    return WorldObject((d.ball(radius),), [Paint(RED, RED, "plain", 1.0, torch.zeros(3))], Box.cube(0.7), "", (), RED)


def test_a_seed_says_all_and_more_objects_are_the_same_and_others(cars: Collection) -> None:
    assert cars.pictures.shape == (12, 32, 32, 4)
    assert cars.scene.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    fewer = render_collection("cars", 2, 4, 32, seed=5)
    assert torch.equal(fewer.pictures, cars.pictures[:8])
    assert torch.equal(fewer.cameras.world_from_camera, cars.cameras.world_from_camera[:8])
    other = render_collection("cars", 1, 4, 32, seed=6)
    assert not torch.equal(other.pictures, cars.pictures[:4])
    assert not torch.equal(cars.attributes.values[0], cars.attributes.values[1])


def test_cars_stand_in_the_box_and_inside_of_their_pictures(cars: Collection) -> None:
    assert torch.equal(cars.box.high, BOX.high)
    assert cars.has_alpha
    alpha = cars.pictures[..., 3]
    rim = torch.cat([alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]], 1)
    assert int(rim.max()) == 0
    share = (alpha.float() / 255).mean((1, 2))
    assert 0.06 < float(share.min()) <= float(share.max()) < 0.5
    height = cars.cameras.center[:, 2] / cars.cameras.center.norm(dim=-1)
    assert 0 <= float(height.min()) <= float(height.max()) <= 0.7072


def test_alpha_is_the_share_of_a_pixel_that_is_covered(cars: Collection) -> None:
    """Against every ray traced on its own, without the box."""
    thing = object_of(cars, 1)
    for index in (4, 6):
        fine = cars.cameras.scaled_to(64, 64)
        met = trace(thing.parts, fine.rays(index)).part.reshape(32, 2, 32, 2) >= 0
        expected = 255 * met.float().mean((1, 3))
        assert float((cars.pictures[index, ..., 3].float() - expected).abs().gt(1).float().mean()) < 0.01
    empty = cars.pictures[cars.pictures[..., 3] == 0]
    assert bool((empty[:, :3] == 255).all())


def test_a_ball_is_as_large_and_as_far_as_geometry_says() -> None:
    each = (torch.tensor([0.0, 120.0]), torch.tensor([0.0, 30.0]), torch.full((2,), 3.0), torch.full((2,), 40.0))
    cameras = standing(*each, 64)
    thing = ball(0.6)
    focal = float(cameras.intrinsics[0, 0])
    radius = focal * 0.6 / (9 - 0.36) ** 0.5  # of the outline: f tan(asin(r / distance))
    area = (picture_of(thing, cameras)[..., 3].float() / 255).sum((1, 2))
    assert area.tolist() == pytest.approx([3.14159 * radius**2] * 2, rel=0.01)
    truth = truth_of(thing, cameras, 1)
    assert truth.covered.sum() == pytest.approx(float(area[1]), rel=0.02)
    assert float(truth.depth[31:33, 31:33].mean()) == pytest.approx(2.4, abs=0.005)
    assert float(truth.depth[0, 0]) == 0
    rays = cameras.rays(1)
    point = rays.at(truth.depth.flatten())[truth.covered.flatten()]
    normal = truth.normal[truth.covered]
    assert float((point / point.norm(dim=-1, keepdim=True) - normal).norm(dim=-1).max()) < 0.02
    assert float((point.norm(dim=-1) - 0.6).abs().max()) < 0.01


def test_cameras_of_different_lenses_see_what_each_alone_sees() -> None:
    each = (torch.tensor([0.0, 120.0]), torch.tensor([0.0, 30.0]), torch.full((2,), 3.0), torch.tensor([40.0, 50.0]))
    cameras = standing(*each, 32)
    thing = ball(0.5)
    both = picture_of(thing, cameras)
    for i in range(2):
        alone = picture_of(thing, cameras[i : i + 1])[0]
        assert float((both[i].float() - alone.float()).abs().mean()) < 0.1


def test_a_point_has_one_colour_from_everywhere_and_the_mirror_image_is_lit_the_same(cars: Collection) -> None:
    thing = object_of(cars, 0)
    each = (torch.tensor([40.0, -40.0]), torch.full((2,), 20.0), torch.full((2,), 2.9), torch.full((2,), 40.0))
    left, right = picture_of(thing, standing(*each, 32)).float()
    assert float((left - right.flip(1)).abs().gt(3).float().mean()) < 0.02  # rays that graze an edge


def test_attributes_are_the_truth(cars: Collection) -> None:
    assert cars.attributes.names == NAMES
    car = Car.of(cars.attributes.values[2])
    assert cars.captions[2] == car.caption
    again = picture_of(object_of(cars, 2), cars.cameras[8:])
    assert torch.equal(again, cars.pictures[8:])
    assert torch.equal(picture_of(car_object(car), cars.cameras[8:]), again)


def test_objects_are_what_their_captions_say(few_nouns: None) -> None:
    things = render_collection("objects", 8, 1, 32, seed=0)
    assert len(set(things.captions)) > 4
    for index, caption in enumerate(things.captions):
        description = understand(caption)
        assert description is not None
        color = things.attributes.columns("r", "g", "b")[index]
        assert color.tolist() == pytest.approx(COLORS[description.first.color])
        assert torch.equal(
            picture_of(object_of(things, index), things.cameras[index : index + 1])[0], things.pictures[index]
        )
    assert 0 < sum(" with " in caption for caption in things.captions) < 8


def test_what_is_not_drawn(small: Collection) -> None:
    with pytest.raises(InputError, match="pictures of 48 pixels are not drawn; choose one of 32, 64, 128"):
        rendered("cars", 1, 1, 48)
    with pytest.raises(InputError, match="0 objects in 1 views"):
        rendered("cars", 0, 1, 32)
    with pytest.raises(InputError, match="not of the built-in world"):
        object_of(small, 0)
