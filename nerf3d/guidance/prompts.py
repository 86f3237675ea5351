"""Prompts by view: what the teacher should be told about each picture of a batch, and what it should not see there.

A camera's azimuth is 0 in front of the object (at -y, looking along +y; z is up) and 90 at +x; its elevation is 90 right
above. Objects are centred on the origin.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.errors import InputError
from nerf3d.guidance.cfg import Conditions
from nerf3d.guidance.perp_neg import FRONT_FROM_BEHIND, FRONT_SIDE, SIDE_BACK, Against
from nerf3d.guidance.text import Text, TextEncoder

FRONT, SIDE, BACK, OVERHEAD = range(4)
WORDS = ("front view", "side view", "back view", "overhead view")

Wording = Callable[[float, float], str]
"""How a teacher was taught to call a view, given by azimuth and elevation in degrees: "from sse, raised"."""
GRID = 2.5
"""Degrees between the views that a wording is asked about beforehand: it must not change its mind more often."""

Style = Literal["none", "words", "interpolated", "perp_neg", "taught"]


def azimuth_elevation(cameras: Cameras) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"]]:
    """Where cameras stand as seen from the origin, in degrees: azimuth in [0, 360), elevation in [-90, 90]."""
    x, y, z = cameras.center.unbind(-1)
    azimuth = torch.rad2deg(torch.atan2(x, -y)) % 360
    return azimuth, torch.rad2deg(torch.atan2(z, torch.hypot(x, y)))


@dataclass(frozen=True)
class ByView:
    """How prompts depend on the view.

    none: they do not. words: "..., side view" and so on, switched at the angles below. interpolated: embeddings are mixed
    between front, side and back by azimuth (the switch to overhead stays hard). perp_neg: as interpolated, and the
    neighbouring views are kept away by Perp-Neg. taught: "..., from sse, raised" or whatever the teacher was trained to
    read, by the wording that `build` is given.
    """

    style: Style = "words"
    negative: str = ""
    """What no picture should show; takes the place of the empty prompt in classifier-free guidance."""
    front: float = 45.0
    """Azimuths up to this, left and right, are the front."""
    back: float = 135.0
    """Azimuths from this on are the back."""
    overhead: float = 60.0
    """Elevations above this look down from overhead."""

    def build(self, prompt: str, encode: TextEncoder, wording: Wording | None = None) -> "Prompts":
        """All embeddings that any camera can need; the encoder is not asked again.

        Raises InputError for an empty prompt, and where the style needs a wording that this teacher does not have.
        """
        prompt = prompt.strip()
        if not prompt:
            raise InputError("the prompt is empty; say what to make, as in: nerf3d text 'a blue mushroom'")
        if self.style == "taught" and wording is None:
            raise InputError(
                "prompts by view have the style 'taught', for priors of the built-in world; choose 'words'"
            )
        views = WORDS if self.style != "taught" or wording is None else _all_views(wording)
        sentences = [prompt] if self.style == "none" else [f"{prompt}, {view}" for view in views]
        embedded = encode([*sentences, self.negative])
        return Prompts(self, embedded[: len(sentences)], embedded[len(sentences) :], views, wording)


def _all_views(wording: Wording) -> tuple[str, ...]:
    """All that a wording can say, each once."""
    azimuths = [GRID * i for i in range(round(360 / GRID))]
    elevations = [GRID * i - 90 for i in range(round(180 / GRID) + 1)]
    return tuple(dict.fromkeys(wording(a, e) for e in elevations for a in azimuths))


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run as a function of its cameras."""

    config: ByView
    embedded: Text
    negative: Text
    views: tuple[str, ...] = WORDS
    wording: Wording | None = None

    def __call__(self, cameras: Cameras) -> Conditions:
        azimuth, elevation = (angle.to(self.embedded.tokens.device) for angle in azimuth_elevation(cameras))
        only = torch.zeros_like(azimuth).long()
        negative = self.negative[only]
        match self.config.style:
            case "none":
                return Conditions(self.embedded[only], negative)
            case "words":
                return Conditions(self.embedded[self._view(azimuth, elevation)], negative)
            case "taught":
                return Conditions(self.embedded[self._named(azimuth, elevation)], negative)
            case "interpolated":
                return Conditions(self._between(azimuth, elevation), negative)
            case "perp_neg":
                return Conditions(self._between(azimuth, elevation), negative, self._against(azimuth, elevation))

    def to(self, device: torch.device | str) -> "Prompts":
        return Prompts(self.config, self.embedded.to(device), self.negative.to(device), self.views, self.wording)

    def _view(self, azimuth: Float[Tensor, "b"], elevation: Float[Tensor, "b"]) -> Int64[Tensor, "b"]:
        turned = _turned(azimuth)
        view = torch.full_like(azimuth, SIDE).long()
        view[turned < self.config.front] = FRONT
        view[turned > self.config.back] = BACK
        view[elevation > self.config.overhead] = OVERHEAD
        return view

    def _named(self, azimuth: Float[Tensor, "b"], elevation: Float[Tensor, "b"]) -> Int64[Tensor, "b"]:
        if self.wording is None:
            raise ValueError("prompts of the style 'taught' are made with a wording")
        names = [self.wording(a, e) for a, e in zip(azimuth.tolist(), elevation.tolist())]
        return torch.tensor([self.views.index(name) for name in names], device=azimuth.device)

    def _between(self, azimuth: Float[Tensor, "b"], elevation: Float[Tensor, "b"]) -> Text:
        """Front at azimuth 0, side at 90, back at 180, and mixtures of neighbours between them."""
        quarters = _turned(azimuth) / 90
        first = quarters.floor().clamp(FRONT, SIDE).long()
        share = quarters - first
        above = elevation > self.config.overhead
        first, second = torch.where(above, OVERHEAD, first), torch.where(above, OVERHEAD, first + 1)
        return self.embedded[first].mix(self.embedded[second], share)

    def _against(self, azimuth: Float[Tensor, "b"], elevation: Float[Tensor, "b"]) -> Against | None:
        """The views to keep away from each camera; those whose weight is next to nothing are left out."""
        found: list[tuple[int, int, float]] = []
        for row, (turned, height) in enumerate(zip(_turned(azimuth).tolist(), elevation.tolist())):
            if height <= self.config.overhead:
                found += [(row, view, w) for view, w in unwanted(turned) if abs(w) > 1e-3]
        if not found:
            return None
        rows, views, weights = zip(*found)
        device = azimuth.device
        index = torch.tensor(views, device=device)
        return Against(self.embedded[index], torch.tensor(rows, device=device), torch.tensor(weights, device=device))


def unwanted(turned: float) -> list[tuple[int, float]]:
    """Perp-Neg's views and weights for a camera that stands so many degrees (0 to 180) away from the front.

    >>> [(WORDS[view], round(weight, 2)) for view, weight in unwanted(90.0)]
    [('side view', -0.0), ('front view', -1.57)]
    """
    r = 1 - turned % 90 / 90 if turned < 180 else 0.0
    if turned < 90:
        return [(FRONT, FRONT_SIDE(r)), (SIDE, FRONT_SIDE(1 - r))]
    return [(SIDE, SIDE_BACK(r)), (FRONT, FRONT_FROM_BEHIND(r))]


def _turned(azimuth: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """Degrees away from the front, to either side: 0 to 180."""
    return ((azimuth + 180) % 360 - 180).abs()
