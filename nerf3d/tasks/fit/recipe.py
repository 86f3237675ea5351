"""What a reconstruction consists of, as plain values: those in configs/fit state what differs from these defaults."""

from dataclasses import dataclass
from typing import Literal

from nerf3d.core.schedules import Decay, Schedule
from nerf3d.fields.hash_grid import HashGrid
from nerf3d.fields.union import FieldConfig
from nerf3d.render.occupancy import Occupancy
from nerf3d.render.proposal import ProposalNetworks


@dataclass(frozen=True)
class CoarseToFine:
    """The 2020 paper's sampling: a second field of the same kind sees few samples and says where to look closely."""

    coarse_count: int = 64
    fine_count: int = 128
    near: float = 0.0
    """Distances in units of half the longest side of the space's box."""
    far: float = 1000.0


@dataclass(frozen=True)
class Proposals:
    """Proposal networks: small hash grids, one a round, all alike but for their finest level."""

    sampling: ProposalNetworks = ProposalNetworks()
    finest: tuple[int, ...] = (128, 256)
    log2_table_size: int = 15


SamplerConfig = Occupancy | CoarseToFine | Proposals


@dataclass(frozen=True)
class Weights:
    """How much each loss counts. A loss of weight 0 is not computed."""

    photometric: float = 1.0
    coarse: float = 0.0
    interlevel: float = 0.0
    distortion: float = 0.0
    sparsity: float = 0.0
    smoothness: float = 0.0
    eikonal: float = 0.0
    mask: float = 0.0
    """Opacities, compared with the alpha of the photographs."""
    appearance: float = 0.01
    poses: float = 0.001


@dataclass(frozen=True)
class Fit:
    """A reconstruction from photographs."""

    field: FieldConfig = HashGrid()
    sampler: SamplerConfig = Occupancy()
    space: Literal["auto", "box", "contracted"] = "auto"
    """auto: the data set's box where it has one, else all of space contracted around what the cameras look at."""
    focus: float = 1.0
    """Half the focus box of a contracted space, in units of the cameras' median distance to what they look at."""
    rays: int = 1024
    """Rays in the first step, and in every step if `samples` is null."""
    samples: int | None = 32768
    """Samples per step; the number of rays follows it."""
    loss: Literal["huber", "mse"] = "huber"
    background: Literal["random", "white", "black"] = "random"
    """What is behind transparent parts and empty space in training. With random, everything else (films, evaluation)
    has white behind an object with alpha and black otherwise."""
    rate: Schedule = Decay(1e-2, 4e-4)
    network_rate: Schedule | None = None
    """For the networks of a field whose grids learn faster."""
    warmup: int = 50
    """Steps during which the rates rise from nothing."""
    upsample_at: tuple[float, ...] = ()
    """Shares of the run after which a vector-matrix field gets a finer grid."""
    levels_until: float = 0.0
    """The share of the run by which all levels of a signed distance's grid speak, after beginning with the coarsest few."""
    appearance: bool = False
    """Learn how each photograph was exposed and balanced (an affine map of its colours)."""
    poses: bool = False
    """Learn small corrections of the cameras' poses."""
    weights: Weights = Weights()
    steps: int | None = None
    minutes: float | None = 5.0
    """The run ends at whichever comes first; at least one of the two is needed."""
