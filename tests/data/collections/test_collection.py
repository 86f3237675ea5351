from dataclasses import replace

import pytest
import torch

from nerf3d.core import Box
from nerf3d.data.collections.collection import Attributes, Collection, joined
from nerf3d.errors import InputError


def many(small: Collection, scenes: int) -> Collection:
    """One picture each of so many objects."""
    one = replace(
        small[:1], captions=("a thing",), attributes=Attributes(("weight",), torch.zeros(1, 1)), scene=torch.tensor([0])
    )
    return joined([replace(one, captions=(f"thing {i}",)) for i in range(scenes)])


def test_pictures_cameras_and_objects_stay_together(small: Collection) -> None:
    assert (len(small), small.scenes) == (6, 3)
    some = small[torch.tensor([4, 0])]
    assert torch.equal(some.pictures, small.pictures[[4, 0]])
    assert torch.equal(some.cameras.world_from_camera, small.cameras.world_from_camera[[4, 0]])
    assert (some.scene.tolist(), some.scenes) == ([2, 0], 3)
    chosen = small.of_scenes([2, 0])
    assert torch.equal(chosen.pictures, small.pictures[[0, 1, 4, 5]])
    assert chosen.scene.tolist() == [1, 1, 0, 0]
    assert chosen.captions == ("thing 2", "thing 0")
    assert torch.equal(chosen.attributes.values, small.attributes.values[[2, 0]])


@pytest.mark.parametrize(("scenes", "held"), [(2, [0]), (10, [0]), (11, [0, 10]), (25, [0, 10, 20])])
def test_every_tenth_object_is_held_out(small: Collection, scenes: int, held: list[int]) -> None:
    train, test = many(small, scenes).split()
    assert test.captions == tuple(f"thing {i}" for i in held)
    assert set(train.captions).isdisjoint(test.captions)
    assert train.scenes + test.scenes == len(train) + len(test) == scenes
    assert sorted(train.scene.unique().tolist()) == list(range(train.scenes))


def test_what_cannot_be_split(small: Collection) -> None:
    with pytest.raises(InputError, match="a collection of one picture leaves nothing to learn from"):
        many(small, 1).split()
    with pytest.raises(InputError, match="all 2 pictures show one object"):
        small.of_scenes([1]).split()


def test_joined_is_what_the_parts_are(small: Collection) -> None:
    back = joined([small.of_scenes([i]) for i in range(3)])
    assert torch.equal(back.pictures, small.pictures)
    assert torch.equal(back.scene, small.scene)
    assert back.captions == small.captions
    assert torch.equal(back.attributes.values, small.attributes.values)
    other = replace(small, box=Box.cube(0.8), attributes=Attributes(("weight", "age"), torch.ones(3, 2)))
    both = joined([small, other])
    assert (both.box.low.tolist(), both.box.high.tolist()) == (
        [-1.0, pytest.approx(-0.8), pytest.approx(-0.8)],
        [pytest.approx(0.8), 1.0, pytest.approx(0.8)],
    )
    assert both.attributes.names == ("weight",)
    assert torch.equal(both.attributes.values[:3, 0], small.attributes.values[:, 1])
    with pytest.raises(InputError, match="no collections to join"):
        joined([])
    wide = replace(small, cameras=small.cameras.scaled_to(16, 8), pictures=small.pictures.repeat(1, 1, 2, 1))
    with pytest.raises(InputError, match=r"16 x 8 pixels .* cannot be in one collection"):
        joined([small, wide])


def test_attributes_are_found_by_their_names(small: Collection) -> None:
    swapped = small.attributes.columns("weight", "r")
    assert torch.equal(swapped, small.attributes.values[:, [1, 0]])
    with pytest.raises(InputError, match=r"does not say 'age' of its objects; choose of r, weight"):
        small.attributes.columns("r", "age")


def test_mirrored_twice_is_the_same(small: Collection) -> None:
    once = small.mirrored()
    assert torch.equal(once.pictures, small.pictures.flip(2))
    assert (once.box.low.tolist(), once.box.high.tolist()) == ([-0.5, -0.5, -0.25], [1.0, 1.0, 0.75])
    twice = once.mirrored()
    assert torch.equal(twice.pictures, small.pictures)
    assert torch.equal(twice.cameras.world_from_camera, small.cameras.world_from_camera)
    assert torch.equal(twice.cameras.intrinsics, small.cameras.intrinsics)
