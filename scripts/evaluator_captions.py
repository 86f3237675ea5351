"""What the evaluator reads: for a picture its true captions and a false one that differs in a single thing."""

from dataclasses import dataclass, replace
from typing import get_args

import torch

from nerf3d.data.world.captions import (
    COLORS,
    PAIRED,
    Description,
    Pattern,
    Thing,
    article,
    held_out,
    understand,
    view_words,
)
from nerf3d.data.world.nouns import named, nouns

VIEWS = ("front view", "side view", "back view", "overhead view")


@dataclass(frozen=True)
class Said:
    """`own` describes the picture, `false` does not. What is in `true` must never count against it, and in `doubtful`
    neither: a sculpture may well be called a grey cow."""

    own: str
    false: str
    true: frozenset[str]
    doubtful: frozenset[str] = frozenset()


def bare(noun: str) -> str:
    """What is said of an object without colour: "a cow"."""
    return f"{article(noun)} {noun}"


def say_of_colored(text: str, azimuth: float, elevation: float, rng: torch.Generator) -> Said:
    """For a picture of the world whose description is `text`. Mostly all of it; at times only the noun."""
    description = understand(text)
    assert description is not None
    noun = description.first.noun
    if description.second is not None:
        exchanged = replace(description, first=description.second, second=description.first)
        also = {str(exchanged)} if description.relation == "next to" else set()
        return Said(text, str(_pair_gone_wrong(description, rng)), frozenset({text} | also))
    view = view_words(azimuth, elevation) if named(noun).has_front else None
    whole, short = _with_view(text, view), _with_view(bare(noun), view)
    true = frozenset([text, whole, bare(noun), short])
    chance, wrong = torch.rand(2, generator=rng).tolist()
    own = text if chance < 0.5 else whole if chance < 0.75 else bare(noun) if chance < 0.85 else short
    said_view = view if own in (whole, short) else None
    if said_view is not None and wrong < 0.5:
        return Said(own, own.replace(said_view, _another(VIEWS, said_view, rng)), true)
    if own in (text, whole):
        return Said(own, _with_view(str(Description(_gone_wrong(description.first, rng))), said_view), true)
    return Said(own, _with_view(bare(_another_noun(noun, rng)), said_view), true)


def say_of_sculpture(text: str, azimuth: float, elevation: float, rng: torch.Generator) -> Said:
    """For a picture of an object without colour whose text is the bare noun."""
    noun = text.split(" ")[1]
    view = view_words(azimuth, elevation) if named(noun).has_front else None
    whole = _with_view(text, view)
    greys = [str(Thing(noun, color)) for color in ("grey", "white", "black")]
    doubtful = frozenset(greys) | frozenset(_with_view(grey, view) for grey in greys)
    own, wrong = (whole if float(torch.rand((), generator=rng)) < 0.5 else text), float(torch.rand((), generator=rng))
    said_view = view if own == whole else None
    if said_view is not None and wrong < 0.5:
        return Said(own, _with_view(text, _another(VIEWS, said_view, rng)), frozenset([text, whole]), doubtful)
    false = _with_view(bare(_another_noun(noun, rng)), said_view)
    return Said(own, false, frozenset([text, whole]), doubtful)


def _with_view(text: str, view: str | None) -> str:
    return text if view is None else f"{text}, {view}"


def _gone_wrong(thing: Thing, rng: torch.Generator) -> Thing:
    """Another noun, colour or pattern, most often what is hardest to tell: a pattern. Pairs of noun and colour that are
    held out never come up, not even as untrue.
    """
    kind = float(torch.rand((), generator=rng))
    if kind < 0.15:
        noun = _another_noun(thing.noun, rng)
        accent = thing.accent_color if named(noun).accent is not None else None
        return _unless_held_out(replace(thing, noun=noun, accent_color=accent), thing, rng)
    if kind < 0.5 or (thing.accent_color is not None and kind < 0.75):
        return _unless_held_out(replace(thing, color=_another(tuple(COLORS), thing.color, rng)), thing, rng)
    if thing.accent_color is not None:
        return replace(thing, accent_color=_another(tuple(COLORS), thing.accent_color, rng))
    pattern: Pattern = _another(get_args(Pattern), thing.pattern, rng)
    return replace(thing, pattern=pattern)


def _unless_held_out(wrong: Thing, right: Thing, rng: torch.Generator) -> Thing:
    if held_out(wrong.noun, wrong.color) or wrong.accent_color == wrong.color:
        return _gone_wrong(right, rng)
    return wrong


def _pair_gone_wrong(description: Description, rng: torch.Generator) -> Description:
    """The colours or the places exchanged, another relation, another noun or colour of one of them."""
    first, second = description.first, description.second
    assert second is not None
    kind = int(torch.randint(5, (), generator=rng))
    if kind == 0:
        wrong = replace(
            description, first=replace(first, color=second.color), second=replace(second, color=first.color)
        )
    elif kind == 1 and description.relation == "on top of":
        wrong = replace(description, first=second, second=first)
    elif kind <= 2:
        wrong = replace(description, relation="next to" if description.relation == "on top of" else "on top of")
    else:
        one = first if kind == 3 else second
        changed = (
            replace(one, noun=_another(PAIRED, one.noun, rng))
            if float(torch.rand((), generator=rng)) < 0.5
            else replace(one, color=_another(tuple(COLORS), one.color, rng))
        )
        wrong = replace(description, first=changed) if kind == 3 else replace(description, second=changed)
    same = wrong.things in (description.things, description.things[::-1]) and wrong.relation == description.relation
    beside = same and (wrong == description or description.relation == "next to")
    fine = not beside and not any(held_out(t.noun, t.color) for t in wrong.things)
    return wrong if fine else _pair_gone_wrong(description, rng)


def _another_noun(noun: str, rng: torch.Generator) -> str:
    return _another(tuple(n.name for n in nouns()), noun, rng)


def _another(choices, but, rng: torch.Generator):
    rest = [choice for choice in choices if choice != but]
    return rest[int(torch.randint(len(rest), (), generator=rng))]
