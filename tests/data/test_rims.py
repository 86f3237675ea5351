"""A disc before a known background, whose matte reaches too far."""

import pytest
import torch

from nerf3d.data.portrait.rims import without_background

SKIN = torch.tensor([200.0, 140.0, 120.0])
WALL = torch.tensor([20.0, 100.0, 220.0])


def scene(side: int, wall: torch.Tensor = WALL) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Picture, true matte, one that is two of 256 pixels too large, and background."""
    middle = torch.arange(side) + 0.5 - side / 2
    radius = (middle[:, None].square() + middle.square()).sqrt()
    true = (side / 4 + 0.5 - radius).clamp(0, 1)
    large = (side / 4 + 0.5 + side / 128 - radius).clamp(0, 1)
    picture = true[..., None] * SKIN + (1 - true[..., None]) * wall
    plate = wall.expand(side, side, 3)
    return (
        picture.round().to(torch.uint8),
        (255 * true).round().to(torch.uint8),
        (255 * large).round().to(torch.uint8),
        plate.to(torch.uint8),
    )


@pytest.mark.parametrize("side", [64, 256, 400])
def test_the_rim_is_what_the_picture_says(side: int) -> None:
    picture, true, large, plate = scene(side)
    found = without_background(picture, large, plate)
    assert (found.int() - true.int()).abs().max() <= 3
    assert (large.int() - true.int()).abs().max() > 100


def test_a_matte_that_is_right_stays() -> None:
    picture, true, _, plate = scene(256)
    assert (without_background(picture, true, plate).int() - true.int()).abs().max() <= 3


def test_it_never_grows() -> None:
    picture, true, _, plate = scene(128)
    small = (true.int() - 60).clamp_min(0).to(torch.uint8)
    assert bool((without_background(picture, small, plate) <= small).all())


def test_where_person_and_background_are_alike_nothing_is_told() -> None:
    picture, _, large, plate = scene(128, SKIN + 10)
    assert torch.equal(without_background(picture, large, plate), large)


def test_nobody_and_nothing_but_the_person() -> None:
    picture, true, _, plate = scene(64)
    none, all_ = torch.zeros_like(true), torch.full_like(true, 255)
    assert torch.equal(without_background(picture, none, plate), none)
    person = SKIN.expand(64, 64, 3).to(torch.uint8)
    assert torch.equal(without_background(person, all_, plate), all_)
