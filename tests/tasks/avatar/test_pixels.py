"""Boxes in a frame, and pixels drawn from them."""

import torch

from nerf3d.tasks.avatar import pixels

WHOLE = torch.tensor([0, 0, 40, 30])


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_box_that_is_not_known_is_another() -> None:
    assert pixels.or_else(torch.tensor([3, 4, 5, 6]), WHOLE).tolist() == [3, 4, 5, 6]
    for unknown in ([0, 0, 0, 0], [3, 4, 5, 0], [3, 4, 0, 5]):
        assert torch.equal(pixels.or_else(torch.tensor(unknown), WHOLE), WHOLE)


def test_a_grown_box_ends_at_the_frame() -> None:
    assert pixels.grown(torch.tensor([10, 10, 10, 4]), WHOLE, 0.5).tolist() == [5, 8, 20, 8]
    assert pixels.grown(torch.tensor([2, 25, 10, 4]), WHOLE, 0.5).tolist() == [0, 23, 17, 7]
    assert torch.equal(pixels.grown(WHOLE, WHOLE, 0.2), WHOLE)


def test_inside_is_where_a_mask_says_so() -> None:
    y, x = torch.meshgrid(torch.arange(30), torch.arange(40), indexing="ij")
    mask = torch.zeros(30, 40, dtype=torch.bool)
    mask[7:12, 5:8] = True
    found = pixels.inside(torch.tensor([5, 7, 3, 5]), x.reshape(-1), y.reshape(-1))
    assert torch.equal(found.reshape(30, 40), mask)


def test_pixels_of_a_box_cover_it_evenly_and_never_leave_it() -> None:
    box = torch.tensor([36, 27, 4, 3])
    found = pixels.within(box, 12_000, rng())
    counts = torch.zeros(30, 40).index_put((found[:, 1], found[:, 0]), torch.tensor(1.0), accumulate=True)
    assert float(counts[27:, 36:].sum()) == 12_000
    assert bool(((counts[27:, 36:] > 850) & (counts[27:, 36:] < 1150)).all())
    assert pixels.within(box, 0, rng()).shape == (0, 2)


def test_a_square_lies_in_the_frame_with_its_middle_in_the_box() -> None:
    chance = rng()
    for box in ([18, 14, 4, 2], [0, 0, 1, 1], [39, 29, 1, 1], [0, 0, 40, 30]):
        for _ in range(20):
            square = pixels.square(torch.tensor(box), 8, WHOLE, chance).reshape(8, 8, 2)
            assert bool((square >= 0).all())
            assert bool((square < WHOLE[2:]).all())
            row, column = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
            assert torch.equal(square - square[0, 0], torch.stack([column, row], -1))  # row by row
            middle = square[4, 4]
            if box == [18, 14, 4, 2]:
                assert pixels.inside(torch.tensor(box), middle[:1], middle[1:]).all()


def test_a_square_as_large_as_the_frame_is_the_frame() -> None:
    square = pixels.square(torch.tensor([3, 3, 2, 2]), 30, torch.tensor([0, 0, 30, 30]), rng())
    assert square.amin(0).tolist() == [0, 0]
    assert square.amax(0).tolist() == [29, 29]
