"""What an avatar consists of, as plain values: those in configs/avatar state what differs from these defaults."""

from dataclasses import dataclass

from nerf3d.core.schedules import Decay, Schedule
from nerf3d.models.adnerf import ADNeRFConfig
from nerf3d.models.head import HeadConfig
from nerf3d.models.torso import TorsoConfig
from nerf3d.render.occupancy import Occupancy

Heads = HeadConfig | ADNeRFConfig


@dataclass(frozen=True)
class Rays:
    """Which pixels of a frame are looked at: how many in a step at most, and the shares on the lips and anywhere.

    All the others lie in the box around the head, more than half of them on the eyes where those are shut.
    """

    count: int = 4096
    samples: int = 65536
    """As long as so many rays have more samples than this, there are fewer rays."""
    lips: float = 0.3
    anywhere: float = 0.2
    patch: int = 32
    """The side of the square on the lips whose structure is compared in the run's last part."""


@dataclass(frozen=True)
class Weights:
    """How much each loss counts. A loss of weight 0 is not computed."""

    head: float = 1.0
    """The head alone, before random colours."""
    whole: float = 1.0
    """Head before torso before random colours. The torso learns from it, the head does not."""
    mouth: float = 0.02
    """What the sound's code says of the mouth's opening and width: without it the sound can die unseen."""
    ambient: float = 1e-5
    """How much of the sound arrives away from the lower face."""
    compact: Schedule = Decay(0.1, 0.01, until=0.5)
    """How thick the fog is in which surfaces begin."""
    structure: float = 0.2
    """Edges on the lips, from `polish` on."""


@dataclass(frozen=True)
class Avatar:
    """A talking head."""

    head: Heads = HeadConfig()
    torso: TorsoConfig = TorsoConfig()
    sampler: Occupancy = Occupancy(resolution=64, steps_per_side=128, finer=1.0)
    """Steps twice as fine made films of a head 0.001 dB better, and took 1.8 times as long."""
    rays: Rays = Rays()
    rate: Schedule = Decay(1e-2, 1e-3)
    """Of grids."""
    network_rate: Schedule = Decay(2e-3, 2e-4)
    sound_rate: Schedule = Decay(1e-3, 1e-4)
    """Of the sound encoder, which is trained without weight decay: that would silence it."""
    warmup: int = 50
    polish: float = 0.75
    """The share of the run after which the lips' edges count too."""
    weights: Weights = Weights()
    size: int | None = None
    """The side of the square frames that are learnt from (null: as they were prepared)."""
    steps: int | None = None
    minutes: float | None = 15.0
    """The run ends at whichever comes first; at least one of the two is needed."""
