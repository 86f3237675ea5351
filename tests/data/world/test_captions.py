from typing import get_args

import pytest

from nerf3d.data.world.captions import (
    COLORS,
    COMPASS,
    HEIGHTS,
    PAIRED,
    Description,
    Pattern,
    Thing,
    held_out,
    single_captions,
    understand,
    view_compass,
    view_words,
    vocabulary,
)
from nerf3d.data.world.nouns import nouns

PAIRS = [(n.name, c) for n in nouns() for c in COLORS]


def test_every_single_caption_is_understood_and_said_once() -> None:
    captions = single_captions()
    assert len(captions) == len({str(c) for c in captions}) == len(nouns()) * len(COLORS) * len(get_args(Pattern))
    assert len(single_captions(patterns=False)) == len(PAIRS)
    assert all(understand(str(c)) == c for c in captions)


def test_two_colored_things_are_understood() -> None:
    for noun in nouns():
        if noun.accent is not None:
            for color in ("orange", "blue"):
                description = Description(Thing(noun.name, "red", "plain", color))
                assert understand(str(description)) == description, str(description)


def test_pairs_are_understood() -> None:
    for first in PAIRED:
        for second in PAIRED:
            for relation in ("on top of", "next to"):
                description = Description(Thing(first, "orange"), relation, Thing(second, "black"))
                assert understand(str(description)) == description


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("An Orange  egg!", "an orange egg"),
        ("violet cube", "a purple cube"),
        ("the gray torus.", "a grey torus"),
        ("a red house with green roof", "a red house with a green roof"),
    ],
)
def test_how_people_write(said: str, means: str) -> None:
    assert str(understand(said)) == means


@pytest.mark.parametrize(
    "said",
    [
        "",
        "a corgi wearing a top hat",
        "red",
        "a cube",
        "a red cube on top of",
        "a red cube with blue legs",
        "a red chair with blue wings",
        "a red cube next to a blue cone next to a green egg",
        "ein roter Würfel",
        "红色的立方体",
    ],
)
def test_what_the_world_does_not_know(said: str) -> None:
    assert understand(said) is None


def test_an_accent_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="one piece"):
        str(Thing("sphere", "red", "plain", "blue"))


def test_one_pair_in_eight_is_held_out_and_every_noun_and_color_has_both_kinds() -> None:
    kept_back = [held_out(noun, color) for noun, color in PAIRS]
    assert sum(kept_back) / len(kept_back) == pytest.approx(1 / 8, abs=0.005)
    for one in [noun.name for noun in nouns()] + list(COLORS):
        own = [held for held, pair in zip(kept_back, PAIRS, strict=True) if one in pair]
        assert 0 < sum(own) < len(own) / 3


@pytest.mark.parametrize(
    ("azimuth", "elevation", "expected"),
    [
        (0, 0, "front view"),
        (-44, 10, "front view"),
        (316, 10, "front view"),
        (46, 10, "side view"),
        (270, 59, "side view"),
        (180, 0, "back view"),
        (-180, 0, "back view"),
        (540, 0, "back view"),
        (0, 61, "overhead view"),
    ],
)
def test_view_words(azimuth: float, elevation: float, expected: str) -> None:
    assert view_words(float(azimuth), float(elevation)) == expected


def test_the_compass_turns_counter_clockwise_from_south_seen_from_above() -> None:
    """Azimuth 90 stands at +x, which is east when the front (-y) faces south."""
    assert [view_compass(float(a), 10.0).split(",")[0] for a in (0, 90, 180, 270, 359)] == [
        f"from {point}" for point in ("s", "e", "n", "w", "s")
    ]
    assert {view_compass(22.5 * i, 0.0) for i in range(16)} == {f"from {point}, low" for point in COMPASS}
    said = [view_compass(0.0, float(e)).split(", ")[1] for e in (-12, 10, 30, 50, 85, 90)]
    assert said == [said[0], *list(HEIGHTS)[1:], "overhead"]


def test_every_word_of_every_caption_is_in_the_vocabulary() -> None:
    words = {word for entry in vocabulary() for word in entry.split()}
    said = [str(c) for c in single_captions()] + [
        str(Thing(n.name, "red", "plain", "blue")) for n in nouns() if n.accent
    ]
    said += ["a red cube on top of a blue egg", "a red cube next to a blue egg"]
    said += [f"a cow, {view_words(a, e)}" for a in (0.0, 90.0, 180.0) for e in (0.0, 80.0)]
    said += [view_compass(22.5 * i, e) for i in range(16) for e in (0.0, 10.0, 30.0, 50.0, 80.0)]
    assert {word for text in said for word in text.replace(",", " ,").split()} <= words
