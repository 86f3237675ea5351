"""What a text-to-3D run consists of, as plain values: those in configs/text state what differs from these defaults."""

from dataclasses import dataclass
from typing import Literal

from nerf3d.core.schedules import Constant, Decay, Schedule
from nerf3d.fields.blob import Blob
from nerf3d.fields.hash_grid import HashGrid
from nerf3d.guidance.prompts import ByView
from nerf3d.guidance.sds import SDS
from nerf3d.guidance.union import GuidanceConfig
from nerf3d.render.occupancy import Occupancy


@dataclass(frozen=True)
class Views:
    """Where the cameras of a step stand. Angles in degrees; each range is drawn from evenly.

    The azimuths of a step are spread evenly around the object from a random start. `air` is the distance in multiples of
    that at which a ball of radius 0.85 just fills the picture. `jitter` moves what the camera looks at, in world units.
    """

    count: int = 4
    elevation: tuple[float, float] = (-10.0, 60.0)
    fov: tuple[float, float] = (35.0, 50.0)
    air: tuple[float, float] = (1.0, 1.35)
    jitter: float = 0.0
    sizes: tuple[int, ...] = (64,)
    """Pixels along a side: the run is divided evenly between the sizes, unless `grow_at` says when each next one begins."""
    grow_at: tuple[float, ...] = ()


@dataclass(frozen=True)
class Shading:
    """How the object is lit: the shares of steps with a light, and of those without colours (DreamFusion: 0.75, 0.5).

    Before `begin` (a share of the run) all steps show the colours as they are.
    """

    begin: float = 1.0
    lit: float = 0.75
    clay: float = 0.5
    ambient: tuple[float, float] = (0.1, 0.6)
    width: float = 0.02
    """Half the distance over which normals are measured, in world units."""


@dataclass(frozen=True)
class Weights:
    """How much each loss counts, over the run. One of weight 0 all along is not computed."""

    guidance: Schedule = Constant(1.0)
    student: Schedule = Constant(1.0)
    sparsity: Schedule = Constant(0.0)
    opaque: Schedule = Constant(0.0)
    orientation: Schedule = Constant(0.0)
    distortion: Schedule = Constant(0.0)


@dataclass(frozen=True)
class Text:
    """A prompt becomes a field."""

    field: HashGrid = HashGrid(view_dependent=False)
    blob: Blob = Blob()
    sampler: Occupancy = Occupancy(resolution=48, steps_per_side=96)
    teacher: str = "builtin"
    """The embedded prior, or an alias, a hub id or a local folder of a diffusers pipeline."""
    guidance: GuidanceConfig = SDS()
    prompts: ByView = ByView()
    views: Views = Views()
    shading: Shading = Shading()
    background: Literal["random", "learned", "white"] = "random"
    weights: Weights = Weights()
    rate: Schedule = Decay(1e-2, 1e-3)
    network_rate: Schedule | None = None
    warmup: int = 20
    steps: int | None = 800
    minutes: float | None = None
