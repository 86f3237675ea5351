"""What can be said about the world, and back again: descriptions, their English, and the words for where one stands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from nerf3d.data.world.nouns import named, nouns

Pattern = Literal["plain", "striped", "checkered", "shiny"]
Relation = Literal["on top of", "next to"]

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.08, 0.08),
    "orange": (1.0, 0.52, 0.05),
    "yellow": (0.98, 0.88, 0.12),
    "green": (0.12, 0.62, 0.16),
    "turquoise": (0.15, 0.80, 0.78),
    "blue": (0.10, 0.22, 0.85),
    "purple": (0.50, 0.12, 0.68),
    "pink": (1.0, 0.55, 0.75),
    "brown": (0.42, 0.23, 0.09),
    "white": (0.96, 0.96, 0.96),
    "grey": (0.50, 0.50, 0.50),
    "black": (0.06, 0.06, 0.07),
}

COMPASS = ("s", "sse", "se", "ese", "e", "ene", "ne", "nne", "n", "nnw", "nw", "wnw", "w", "wsw", "sw", "ssw")
HEIGHTS = {"low": 7.0, "level": 22.0, "raised": 40.0, "high": 60.0, "overhead": 91.0}
"""Words for the elevation, each with the degrees that it ends at."""

PAIRED = ("sphere", "cube", "cone", "cylinder", "torus", "pyramid", "egg", "star", "heart", "cross")
"""The nouns of scenes with two objects."""


@dataclass(frozen=True)
class Thing:
    """One object: "a striped red cow", "a red chair with blue legs"."""

    noun: str
    color: str
    pattern: Pattern = "plain"
    accent_color: str | None = None

    def __str__(self) -> str:
        words = self.color if self.pattern == "plain" else f"{self.pattern} {self.color}"
        said = f"{article(words)} {words} {self.noun}"
        return said if self.accent_color is None else f"{said} with {_colored(_accent(self.noun), self.accent_color)}"


@dataclass(frozen=True)
class Description:
    """A scene of one object or two."""

    first: Thing
    relation: Relation | None = None
    second: Thing | None = None

    def __str__(self) -> str:
        return f"{self.first} {self.relation} {self.second}" if self.second is not None else str(self.first)

    @property
    def things(self) -> tuple[Thing, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)


def article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def _colored(accent: str, color: str) -> str:
    """a roof, red -> a red roof; legs, blue -> blue legs."""
    one = accent.startswith("a ")
    return f"{article(color)} {color} {accent[2:]}" if one else f"{color} {accent}"


def _accent(noun: str) -> str:
    accent = named(noun).accent
    if accent is None:
        raise ValueError(f"a {noun} is all of one piece")
    return accent


def held_out(noun: str, color: str) -> bool:
    """Whether this pair, one in eight, never occurs in training: what tells knowing from remembering."""
    i = [n.name for n in nouns()].index(noun)
    return (5 * i + 3 * list(COLORS).index(color)) % 8 == 0


def single_captions(patterns: bool = True) -> list[Description]:
    """All objects of one colour (plain, and with every pattern): the list that R-precision picks from."""
    kinds: tuple[Pattern, ...] = get_args(Pattern) if patterns else ("plain",)
    return [Description(Thing(n.name, color, kind)) for n in nouns() for color in COLORS for kind in kinds]


def understand(prompt: str) -> Description | None:
    """The description whose English this is, or None for what the world does not know.

    >>> str(understand("a red cube on top of a blue cylinder").second)
    'a blue cylinder'
    """
    text = " ".join(prompt.lower().replace("violet", "purple").replace("gray", "grey").split()).rstrip(".!")
    halves = re.split(r" (on top of|next to) ", text)
    things = [_thing(half) for half in halves[::2]]
    if len(things) == 1 and things[0] is not None:
        return Description(things[0])
    if len(things) == 2 and things[0] is not None and things[1] is not None:
        return Description(things[0], "on top of" if halves[1] == "on top of" else "next to", things[1])
    return None


def _thing(text: str) -> Thing | None:
    names, colors = "|".join(n.name for n in nouns()), "|".join(COLORS)
    found = re.fullmatch(
        rf"(?:an? |the )?(?:(striped|checkered|shiny) )?({colors}) ({names})(?: with (?:an? )?({colors}) (.*))?", text
    )
    if found is None:
        return None
    pattern, color, noun, accent_color, accent = found.groups()
    thing = Thing(noun, color, cast(Pattern, pattern or "plain"))
    if accent_color is None:
        return thing
    known = named(noun).accent
    fits = known is not None and accent == known.removeprefix("a ")
    return replace(thing, accent_color=accent_color) if fits else None


def view_words(azimuth: float, elevation: float) -> str:
    """How people say where they stand. Degrees; azimuth 0 looks at the front, elevation 90 down from above."""
    if elevation > 60:
        return "overhead view"
    turned = abs((azimuth + 180) % 360 - 180)
    return "front view" if turned < 45 else "back view" if turned > 135 else "side view"


def view_compass(azimuth: float, elevation: float) -> str:
    """The same more exactly, for a prior that learned to read a compass: the front of everything faces south.

    >>> view_compass(22.5, 30)
    'from sse, raised'
    """
    point = COMPASS[round(azimuth / 22.5) % 16]
    height = next(word for word, limit in HEIGHTS.items() if elevation < limit)
    return f"from {point}, {height}"


def vocabulary() -> Iterator[str]:
    """Every word that a caption may hold."""
    yield from ("a", "an", "with", "on", "top", "of", "next", "to", ",", "view", "front", "side", "back", "overhead")
    yield from ("from", *COMPASS, *HEIGHTS)
    yield from COLORS
    yield from get_args(Pattern)
    for noun in nouns():
        yield noun.name
        if noun.accent:
            yield noun.accent.removeprefix("a ")
