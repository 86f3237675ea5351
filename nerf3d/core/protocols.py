"""The interfaces between the rooms. Concrete classes satisfy them by shape; nobody inherits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from nerf3d.core.cameras import Cameras
from nerf3d.core.radiance import Radiance
from nerf3d.core.rays import Rays
from nerf3d.core.samples import Samples
from nerf3d.core.schedules import Schedule
from nerf3d.core.spaces import Box


@runtime_checkable
class Field(Protocol):
    """A scene as a callable. It knows points and directions; no cameras, prompts, sounds or steps."""

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """Density in 1 / world unit at world positions."""
        ...

    def __call__(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        """Density and colour at world positions, seen along unit directions."""
        ...


@runtime_checkable
class Sampler(Protocol):
    def __call__(self, field: Field, rays: Rays, rng: torch.Generator | None) -> Samples: ...


@runtime_checkable
class Guidance(Protocol):
    """Pictures in, named scalars out; the gradient flows into the pictures. `progress` is that of `Task.step`."""

    def __call__(
        self, images: Float[Tensor, "b h w 3"], cameras: Cameras, progress: float, rng: torch.Generator | None
    ) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Update:
    """One player's losses, named and unweighted; the training loop weighs and sums them.

    `figures` are numbers worth watching that nobody trains on. Those that a GPU computes stay there, as tensors without
    dimensions: the loop reads them together with the losses, so that the GPU is waited for once.
    """

    player: str
    losses: dict[str, Tensor]
    figures: Mapping[str, float | Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Parameters that learn at one rate, which depends on how far the run has come (0 at its beginning, 1 at its end)."""

    parameters: list[nn.Parameter]
    rate: Schedule
    momentum: float = 0.9
    """Adam's first beta. 0 where two players chase each other: momentum would carry each past where the other has been."""


@runtime_checkable
class Task(Protocol):
    """A story that can be trained. `step` is a generator: two players take turns by yielding twice.

    `progress` is the share of the run that is done, in [0, 1). A task may replace its parameters in `step` before it
    yields (a grid that grows finer): the training loop asks for the players before every update.
    """

    def players(self) -> dict[str, list[Group]]: ...

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]: ...


@runtime_checkable
class Tracking(Protocol):
    """A task whose steps change more than parameters, without gradients: a codebook of running means."""

    def tracked(self) -> Iterable[Tensor]:
        """All of it, so that several processes that train together can take it from the one that leads."""
        ...


@runtime_checkable
class Tabular(Protocol):
    """A task whose steps move a few rows of large tables by themselves, without the training loop's gradients."""

    def moved(self) -> tuple[Int64[Tensor, "k"], Sequence[Tensor]]:
        """Which rows the last step moved, and the tables, so that several processes that train together can exchange
        them.
        """
        ...


@runtime_checkable
class Halving(Protocol):
    """A task whose steps can be made smaller where a GPU's memory is too small for them."""

    def budget(self) -> str:
        """The setting that says how much is in a step, as `--set` takes it: samples=32768."""
        ...

    def halve(self) -> bool:
        """Steps have half as much in them from now on. False where that cannot be; then nothing has changed."""
        ...


@runtime_checkable
class Weighed(Halving, Protocol):
    """One of which is known beforehand how much memory a step takes."""

    def step_bytes(self, rng: torch.Generator) -> float:
        """About how many; nothing of the task changes. `rng` is a stream for this alone, where the task is."""
        ...


@dataclass(frozen=True)
class Scene:
    """Everything that is needed to look at a finished field: the same for every story.

    `cameras` are those that it was made from (or would naturally be watched from); `box` is the part of the world worth
    exporting; `up` the direction away from the ground, of unit length; `background` the colour in [0, 1] that shows
    where the field is empty.
    """

    field: Field
    sampler: Sampler
    background: Float[Tensor, "3"]
    cameras: Cameras
    box: Box
    up: Float[Tensor, "3"]
