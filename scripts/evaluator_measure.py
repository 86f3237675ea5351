"""How often the evaluator is right about pictures that it has not learned from: objects from all around."""

from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from evaluator_captions import bare
from evaluator_pictures import HIGHEST, Round, rounds
from torch import Tensor

from nerf3d.console import tracked
from nerf3d.data.world.captions import Description, held_out, single_captions
from nerf3d.data.world.examples import examples
from nerf3d.data.world.nouns import named, nouns
from nerf3d.metrics.clip import Evaluator

Report = dict[str, str | int | float | dict[str, float]]
SIDES = ("front view", "side view", "back view")


@dataclass
class Tally:
    """Shares of what is right, by picture and by object (similarities averaged over its views)."""

    right: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, values: list[float]) -> None:
        self.right.setdefault(name, []).extend(values)

    def shares(self) -> dict[str, float]:
        return {name: round(sum(values) / len(values), 4) for name, values in sorted(self.right.items())}


def measure(evaluator: Evaluator, seed: int, blur: float = 1.5) -> Report:
    """Over 40 nouns x 12 colours x 8 views in colour, 40 x 3 x 8 without; again when the pictures are blurred."""
    candidates = single_captions()
    texts = [str(d) for d in candidates]
    names = [noun.name for noun in nouns()]
    tally = Tally()
    for colored, plain in tracked(rounds(seed), "measuring", len(names)):
        for whole in (colored, plain):
            _around(evaluator, whole, candidates, texts, names, 0.0, tally)
            _around(evaluator, whole, candidates, texts, names, blur, tally)
    _pairs(evaluator, texts, seed, tally)
    return {
        "what": (
            f"top-1 on pictures of seed {seed}, elevations 0 to {HIGHEST:.0f} degrees, eight views around each object; "
            f"in colour among {len(texts)} captions (noun x colour x pattern), textureless among {len(names)} nouns; "
            f"'blurred' with a Gaussian of {blur} pixels"
        ),
        "shares": tally.shares(),
    }


def _around(
    evaluator: Evaluator,
    whole: list[Round],
    candidates: list[Description],
    texts: list[str],
    names: list[str],
    blur: float,
    tally: Tally,
) -> None:
    plain = whole[0].description.first.color == whole[-1].description.first.color
    options = [bare(name) for name in names] if plain else texts
    for one in whole:
        thing = one.description.first
        images = one.images.float() / 255
        if blur:
            images = _blurred(images, blur)
        similarity = evaluator.similarity(images, options)
        truth = names.index(thing.noun) if plain else texts.index(str(one.description))
        each = similarity.argmax(1)
        kind = ("textureless" if plain else "color") + (" blurred" if blur else "")
        tally.note(f"{kind}, picture", (each == truth).double().tolist())
        tally.note(f"{kind}, object", [float(similarity.mean(0).argmax() == truth)])
        if not plain:
            seen = "held-out pairs" if held_out(thing.noun, thing.color) else "known pairs"
            tally.note(f"{kind}, {seen}, picture", (each == truth).double().tolist())
            tally.note(f"{kind}, {seen}, object", [float(similarity.mean(0).argmax() == truth)])
            if not blur:
                found = [candidates[i].first for i in each.tolist()]
                tally.note("color, noun alone, picture", [float(f.noun == thing.noun) for f in found])
                tally.note("color, color alone, picture", [float(f.color == thing.color) for f in found])
                tally.note("color, pattern alone, picture", [float(f.pattern == thing.pattern) for f in found])
        if named(thing.noun).has_front and not blur:
            said = bare(thing.noun) if plain else str(one.description)
            sides = evaluator.similarity(images, [f"{said}, {side}" for side in SIDES]).argmax(1)
            # The first view looks at the front, give or take ten degrees; the fifth at the back.
            tally.note(f"{kind}, front told, picture", [float(sides[0] == 0)])
            tally.note(f"{kind}, back told, picture", [float(sides[4] == 2)])
            tally.note(f"{kind}, back taken for front, picture", [float(sides[4] == 0)])


def _pairs(evaluator: Evaluator, texts: list[str], seed: int, tally: Tally, count: int = 240) -> None:
    """Two objects: the right caption among all single ones, those of the other pairs, and it with its colours exchanged."""
    drawn = examples(torch.Generator().manual_seed(1_000_003 * seed + 1), views=2, dresses=2)
    found = list(islice((e for e in drawn if e.description.second is not None and e.elevation < HIGHEST), count))
    others = []
    for example in found:
        first, second = example.description.first, example.description.second
        assert second is not None
        exchanged = (replace(first, color=second.color), replace(second, color=first.color))
        others.append(str(replace(example.description, first=exchanged[0], second=exchanged[1])))
    options = list(dict.fromkeys(texts + [str(e.description) for e in found] + others))
    images = torch.stack([e.picture for e in found]).float() / 255
    best = evaluator.similarity(images, options).argmax(1).tolist()
    tally.note("pairs, picture", [float(options[b] == str(e.description)) for b, e in zip(best, found, strict=True)])


def _blurred(images: Tensor, width: float) -> Tensor:
    """A Gaussian with that standard deviation in pixels; images (n h w 3)."""
    offset = torch.arange(-5.0, 6.0)
    kernel = torch.softmax(-0.5 * (offset / width) ** 2, 0).expand(3, 1, 1, -1)
    x = images.permute(0, 3, 1, 2)
    x = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (5, 5, 0, 0), mode="replicate"), kernel, groups=3)
    x = torch.nn.functional.conv2d(
        torch.nn.functional.pad(x, (0, 0, 5, 5), mode="replicate"), kernel.transpose(2, 3), groups=3
    )
    return x.permute(0, 2, 3, 1)
