"""The box of cars is that of cars, not of the world that they stand in."""

from dataclasses import replace

import torch

from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import object_of, render_collection


def test_cars_fill_a_small_part_of_their_world() -> None:
    cars = render_collection("cars", 4, 12, 32)
    box = tight_box(cars)
    truth = [object_of(cars, i).box for i in range(4)]
    low, high = (torch.stack([getattr(b, end) for b in truth]) for end in ("low", "high"))
    assert bool((box.low <= low.amin(0) + 0.03).all())  # thin parts may hide between cells
    assert bool((box.high >= high.amax(0) - 0.03).all())
    assert float(box.size.prod()) < 0.35 * float(cars.box.size.prod())


def test_where_nothing_is_known_it_is_the_collection_s() -> None:
    cars = render_collection("cars", 1, 3, 32)
    blind = replace(cars, has_alpha=False)
    assert torch.equal(tight_box(blind).low, cars.box.low)
    nothing = replace(cars, pictures=torch.zeros_like(cars.pictures))
    assert torch.equal(tight_box(nothing).high, cars.box.high)
