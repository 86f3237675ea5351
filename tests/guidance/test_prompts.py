from collections.abc import Callable

import pytest
import torch

from nerf3d.core import Cameras
from nerf3d.core.paths import standing
from nerf3d.data.world.captions import view_compass, view_words
from nerf3d.errors import InputError
from nerf3d.guidance.prompts import BACK, FRONT, OVERHEAD, SIDE, ByView, azimuth_elevation, unwanted
from nerf3d.guidance.text import Text


class Numbers:
    """A text encoder that remembers what it was asked, and answers with the sentence's number, one-hot."""

    identity = "numbers"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, prompts: list[str]) -> Text:
        self.calls.append(prompts)
        return Text(torch.eye(len(prompts))[:, None, :], 10 * torch.eye(len(prompts)))


def scattered(count: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return 360 * torch.rand(count, generator=rng), -14 + 100 * torch.rand(count, generator=rng)


def test_where_cameras_stand(around: Callable[..., Cameras]) -> None:
    eye = torch.tensor([[0.0, -2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 1.0], [-1.0, 0.0, -1.0], [0.0, 0.0, 3.0]])
    pose = torch.cat([torch.eye(3).expand(5, 3, 3), eye[:, :, None]], -1)
    azimuth, elevation = azimuth_elevation(Cameras.pinhole(pose, 8.0, 8, 8))
    assert azimuth[:4].tolist() == pytest.approx([0, 90, 180, 270])
    assert elevation.tolist() == pytest.approx([0, 0, 45, -45, 90])


def test_the_convention_is_that_of_the_house(rng: torch.Generator) -> None:
    a, e = scattered(50, rng)
    cameras = standing(a, e, torch.full((50,), 2.0), torch.full((50,), 40.0), 8)
    azimuth, elevation = azimuth_elevation(cameras)
    torch.testing.assert_close(azimuth, a, atol=1e-2, rtol=0)
    torch.testing.assert_close(elevation, e, atol=1e-2, rtol=0)


def test_words_are_those_of_the_captions(around: Callable[..., Cameras], rng: torch.Generator) -> None:
    a, e = scattered(200, rng)
    encode = Numbers()
    prompts = ByView(style="words", negative="blurry").build(" a cow ", encode)
    (sentences,) = encode.calls
    assert sentences == ["a cow, front view", "a cow, side view", "a cow, back view", "a cow, overhead view", "blurry"]
    found = prompts(around(a.tolist(), e.tolist()))
    assert found.against is None
    said = [sentences[i] for i in found.text.tokens[:, 0].argmax(-1)]
    assert said == [f"a cow, {view_words(float(x), float(y))}" for x, y in zip(a, e)]
    assert set(said) == set(sentences[:4])
    assert (found.negative.tokens[:, 0].argmax(-1) == 4).all()
    assert len(encode.calls) == 1  # nobody asks again


def test_a_teacher_is_told_what_it_was_taught(around: Callable[..., Cameras], rng: torch.Generator) -> None:
    a, e = scattered(300, rng)
    encode = Numbers()
    prompts = ByView(style="taught").build("a cow", encode, view_compass)
    found = prompts(around(a.tolist(), e.tolist()))
    (sentences,) = encode.calls
    assert len(sentences) == len(set(sentences)) < 200
    said = [sentences[i] for i in found.text.tokens[:, 0].argmax(-1)]
    assert said == [f"a cow, {view_compass(float(x), float(y))}" for x, y in zip(a, e)]
    below = prompts(around([31.0], [-80.0]))
    assert sentences[int(below.text.tokens[0, 0].argmax())] == f"a cow, {view_compass(31.0, -80.0)}"
    with pytest.raises(InputError, match="choose 'words'"):
        ByView(style="taught").build("a cow", encode)


def test_interpolation_is_a_tent_over_the_azimuth(around: Callable[..., Cameras]) -> None:
    prompts = ByView(style="interpolated").build("a cow", Numbers())
    azimuth = [0.0, 30.0, 90.0, 126.0, 180.0, 234.0, 345.0, 10.0]
    text = prompts(around(azimuth, [0.0] * 7 + [75.0])).text
    shares = [
        {FRONT: 1.0},
        {FRONT: 2 / 3, SIDE: 1 / 3},
        {SIDE: 1.0},
        {SIDE: 0.6, BACK: 0.4},
        {BACK: 1.0},
        {SIDE: 0.6, BACK: 0.4},
        {FRONT: 5 / 6, SIDE: 1 / 6},
        {OVERHEAD: 1.0},
    ]
    expected = torch.tensor([[share.get(view, 0.0) for view in range(5)] for share in shares])
    torch.testing.assert_close(text.tokens[:, 0], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(text.pooled, 10 * expected, atol=1e-4, rtol=0)


def test_perp_neg_keeps_the_neighbours_away(around: Callable[..., Cameras]) -> None:
    prompts = ByView(style="perp_neg").build("a cow", Numbers())
    found = prompts(around([0.0, 135.0, 90.0, 20.0], [0.0, 0.0, 0.0, 85.0]))
    against = found.against
    entries = list(zip(against.row.tolist(), against.text.tokens[:, 0].argmax(-1).tolist()))
    # from the front not the side; from behind neither front nor side; from the side not the front; from above anything
    assert entries == [(0, SIDE), (1, SIDE), (1, FRONT), (2, FRONT)]
    assert (against.weight < 0).all()
    assert prompts(around([20.0], [85.0])).against is None
    for before, after in ((89.999, 90.001), (179.99, 180.0)):
        one, other = (dict(unwanted(turned)) for turned in (before, after))
        for view in (FRONT, SIDE):
            assert one.get(view, 0.0) == pytest.approx(other.get(view, 0.0), abs=2e-3)


def test_none_is_one_sentence(around: Callable[..., Cameras]) -> None:
    encode = Numbers()
    found = ByView(style="none").build("a cow", encode)(around([0.0, 180.0]))
    assert encode.calls == [["a cow", ""]]
    assert found.text.tokens[:, 0].tolist() == [[1.0, 0.0]] * 2
    assert found.negative.tokens[:, 0].tolist() == [[0.0, 1.0]] * 2


def test_no_prompt_is_refused() -> None:
    for empty in ("", "  \n"):
        with pytest.raises(InputError, match="prompt is empty"):
            ByView().build(empty, Numbers())
