"""What generative fields consist of, as plain values: those in configs/gen state what differs from these defaults."""

from dataclasses import dataclass, replace
from typing import Literal

from nerf3d.core.schedules import Constant, Decay, Ramp, Schedule
from nerf3d.models.critic import CriticConfig
from nerf3d.models.generator import TriPlaneGeneratorConfig
from nerf3d.models.graf import GRAFGeneratorConfig, PatchCriticConfig
from nerf3d.models.object_autoencoder import ObjectAutoencoderConfig
from nerf3d.models.picture_encoder import PictureEncoderConfig
from nerf3d.models.pigan import PiGANGeneratorConfig
from nerf3d.models.plane_codes import PlaneCodesConfig
from nerf3d.models.plane_denoiser import PlaneDenoiserConfig
from nerf3d.models.super_resolution import SuperResolutionConfig
from nerf3d.models.token_transformer import Masked, TokenTransformerConfig
from nerf3d.models.vq_autoencoder import VQAutoencoderConfig
from nerf3d.precision import Precision, Wide

Background = Literal["alpha", "white", "black"]
"""What pictures are compared with a critic's eyes before. alpha: before black, with the opacity as one more channel."""


@dataclass(frozen=True)
class Looks:
    """What of a collection a step looks at."""

    objects: int = 8
    views: int = 4
    """Pictures of each object that the rays are drawn from."""
    rays: int = 384
    """For each object."""
    on_object: float = 0.6
    """The share of the rays that are drawn where the object is; the others fall anywhere in the pictures."""
    samples: int = 24
    """On each ray, between where it enters the box and where it leaves it."""


def halved(looks: Looks) -> Looks | None:
    """With half of the objects; None for a single one."""
    return replace(looks, objects=looks.objects // 2) if looks.objects > 1 else None


@dataclass(frozen=True)
class Flow:
    """The latent flow: residual layers of so many numbers."""

    width: int = 256
    blocks: int = 4
    batch: int = 256
    rate: Schedule = Constant(1e-3)


@dataclass(frozen=True)
class DiffAE:
    """A 3D diffusion autoencoder: a picture's code holds the object, and a flow learns what codes are like."""

    model: ObjectAutoencoderConfig = ObjectAutoencoderConfig()
    flow: Flow = Flow()
    looks: Looks = Looks(objects=12, rays=256)
    settled: float = 0.85
    """From this share of the run on the autoencoder stays as it is, and the flow learns its codes."""
    code_weight: float = 1e-4
    """Of the codes' mean square: it keeps them from growing without end."""
    opacity_weight: float = 0.5
    rate: Schedule = Decay(2e-2, 5e-4)
    """Ten times the adversaries': after three minutes cars were 1.4 dB nearer to their pictures than with 2e-3."""
    warmup: int = 50
    precision: Precision = "single"
    steps: int | None = None
    minutes: float | None = 30.0
    """The run ends at whichever comes first; at least one of the two is needed."""


@dataclass(frozen=True)
class EG3D:
    """Tri-planes from a style generator, against a critic: EG3D in small."""

    generator: TriPlaneGeneratorConfig = TriPlaneGeneratorConfig(
        z=64,
        w=128,
        channels=(128, 96, 64, 32),
        plane_features=16,
        decoder_width=32,
        styled_decoder=True,
        color_channels=3,
        pose=0,
        noise=False,
    )
    critic: CriticConfig = CriticConfig(channels=(128, 96, 48, 24), picture_channels=4, condition=25)
    reader: PictureEncoderConfig | None = PictureEncoderConfig(channels=(64, 48, 32, 16), code=64)
    kinds: bool = False
    """Whether generator and critic are told what kind an object is, by its caption, so that one kind can be asked for."""
    batch: int = 16
    samples: int = 16
    """On each ray, between where it enters the box and where it leaves it."""
    fine: int = 0
    """More samples on each ray, where those before have met something."""
    super_resolution: SuperResolutionConfig | None = None
    raw: Schedule = Constant(64.0)
    """Rows and columns that are rendered for the super-resolution; without one, pictures are rendered at their size."""
    background: Background = "alpha"
    sharp: float = 0.4
    """Until this share of the run pictures are compared at half their size (without super-resolution)."""
    blur: Schedule = Constant(0.0)
    """Of all that the critic sees: the standard deviation of a bell, in pixels."""
    swap: Schedule = Ramp(1.0, 0.5, until=0.04)
    """How likely a generator that is told the pose is told that of another picture of the batch."""
    pose_noise: float = 0.0
    """On the poses that the critic is told, in units of the collection's standard deviations (EG3D's disc_c_noise): where
    poses are exact, a critic that hears them exactly learns by heart which picture belongs to which."""
    r1: float = 0.1
    r1_every: int = 8
    read: float = 1.0
    """How much it counts that the code can be read from the picture."""
    smooth: float = 0.01
    """How much it counts that the density is about the same at points near to each other."""
    smooth_points: int = 512
    smooth_scenes: int = 4
    smooth_near: float = 0.02
    """How far apart those points are, as a share of the box's longest side."""
    smooth_every: int = 1
    keep: float = 0.995
    """Of the running mean, in a step."""
    rate: Schedule = Constant(2e-3)
    critic_rate: Schedule = Constant(2e-3)
    warmup: int = 20
    precision: Wide = "single"
    """Half precision lost numbers in its generator's slopes."""
    steps: int | None = None
    minutes: float | None = 30.0
    """The run ends at whichever comes first; at least one of the two is needed."""


@dataclass(frozen=True)
class VQAR:
    """Tokens of a codebook for the parts of an object, and a transformer that learns what sequences of them are like."""

    model: VQAutoencoderConfig = VQAutoencoderConfig()
    transformer: TokenTransformerConfig = Masked()
    looks: Looks = Looks(objects=12, rays=256)
    settled: float = 0.8
    """From this share of the run on the autoencoder stays as it is, and the transformer learns its tokens."""
    opacity_weight: float = 0.5
    batch: int = 64
    """Sequences in a lesson of the transformer."""
    rate: Schedule = Decay(2e-2, 3e-4, until=0.8)
    transformer_rate: Schedule = Decay(1e-3, 1e-4, begin=0.8)
    warmup: int = 50
    precision: Precision = "single"
    steps: int | None = None
    minutes: float | None = 30.0
    """The run ends at whichever comes first; at least one of the two is needed."""


@dataclass(frozen=True)
class SSDNeRF:
    """Planes of its own for every object, and a diffusion that learns them while they form."""

    planes: PlaneCodesConfig = PlaneCodesConfig()
    denoiser: PlaneDenoiserConfig = PlaneDenoiserConfig()
    decoder_width: int = 32
    looks: Looks = Looks()
    code_steps: int = 4
    """How often the codes of the objects that a step looks at are moved."""
    prior_weight: Schedule = Ramp(1e-3, 0.1, begin=0.3, until=0.6)
    """How much the denoiser's loss draws at the codes, beside their pictures. Much too early keeps objects from forming;
    late it makes codes easier to learn, and unseen views lose nothing.
    """
    opacity_weight: float = 0.5
    settled: float = 0.7
    """From this share of the run on codes and decoder stay as they are, and the denoiser learns the codes."""
    batch: int = 16
    """Codes in a lesson of the denoiser alone."""
    rate: Schedule = Decay(5e-3, 5e-4, until=0.7)
    code_rate: Schedule = Decay(3e-2, 3e-3, until=0.7)
    denoiser_rate: Schedule = Decay(1e-3, 1e-4, begin=0.5)
    warmup: int = 50
    precision: Wide = "single"
    """Its objects' planes learn from gradients as they are, without the scale that half precision needs."""
    steps: int | None = None
    minutes: float | None = 30.0
    """The run ends at whichever comes first; at least one of the two is needed."""


@dataclass(frozen=True)
class PiGAN:
    """A network of sines that codes bend, against a critic of pictures that grow: pi-GAN in small."""

    generator: PiGANGeneratorConfig = PiGANGeneratorConfig(z=64, width=64, depth=3, mapping_width=64)
    critic: CriticConfig = CriticConfig(channels=(128, 128, 64, 32), picture_channels=4, condition=25)
    reader: PictureEncoderConfig | None = PictureEncoderConfig(channels=(64, 64, 32, 32))
    """Reads in a picture the code, and the camera's direction where `place` asks for it: `code` follows from that."""
    batch: int = 16
    samples: int = 12
    """On each ray, between where it enters the box and where it leaves it."""
    fine: int = 0
    """More samples on each ray, where those before have met something."""
    sizes: tuple[int, ...] = (16, 32)
    """Rows and columns that are rendered, one after another; enlarged to the critic's size they are compared."""
    grow_at: tuple[float, ...] = (0.5,)
    """The share of the run at which each next size begins."""
    background: Background = "alpha"
    noise: Schedule = Ramp(1.0, 0.0, until=0.1)
    """Of the raw densities."""
    best: Schedule = Decay(1.0, 0.6, until=0.5)
    """The share of a batch, those that look most real, that the generator learns from (top-k training)."""
    r1: float = 1.0
    r1_every: int = 8
    read: float = 1.0
    """How much it counts that the code can be read from the picture."""
    place: float = 0.0
    """How much it counts that the camera's direction can be (the paper's pose identity)."""
    keep: float = 0.995
    """Of the running mean, in a step."""
    rate: Schedule = Constant(5e-4)
    critic_rate: Schedule = Constant(2e-3)
    warmup: int = 20
    precision: Wide = "single"
    """Half precision lost numbers in its generator's slopes."""
    steps: int | None = None
    minutes: float | None = 30.0
    """The run ends at whichever comes first; at least one of the two is needed."""


@dataclass(frozen=True)
class GRAF:
    """A field that shapes and appearances bend, against a critic of patches: GRAF in small.

    The paper's RMSprop is Adam here, as everywhere.
    """

    generator: GRAFGeneratorConfig = GRAFGeneratorConfig(
        shape=32, appearance=32, width=64, depth=4, skip=2, position_octaves=6, direction_octaves=2, color_width=32
    )
    critic: PatchCriticConfig = PatchCriticConfig(channels=(64, 128), picture_channels=4)
    """Its resolution is that of the patches; pictures may have any size."""
    reader: PictureEncoderConfig | None = PictureEncoderConfig(channels=(64, 64, 32))
    """Reads in a patch the code; `code` follows from that."""
    batch: int = 16
    samples: int = 12
    """On each ray, between where it enters the box and where it leaves it."""
    fine: int = 0
    """More samples on each ray, where those before have met something."""
    smallest: Schedule = Decay(0.9, 0.5, until=0.6)
    """The least share of a picture's width that a patch may have."""
    background: Background = "alpha"
    noise: Schedule = Ramp(1.0, 0.0, until=0.1)
    """Of the raw densities."""
    r1: float = 1.0
    r1_every: int = 8
    read: float = 1.0
    """How much it counts that the code can be read from the patch."""
    keep: float = 0.995
    """Of the running mean, in a step."""
    rate: Schedule = Constant(5e-4)
    critic_rate: Schedule = Constant(5e-4)
    warmup: int = 20
    precision: Precision = "single"
    steps: int | None = None
    minutes: float | None = 30.0
    """The run ends at whichever comes first; at least one of the two is needed."""
