"""Generators of all adversarial recipes in one form, and the `Maker` that their training leaves behind.

What a generator is asked for stands in `Generator`: codes of chance, the usual code, fields of codes. pi-GAN's and
GRAF's answer as they are; EG3D's tri-planes and their super-resolution do together as `Planes`, whose codes are w+.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Box, Cameras, Field, Radiance, Rays, Sampler, Samples
from nerf3d.core.spaces import Space
from nerf3d.fields.common import Region
from nerf3d.fields.triplane import TriPlane
from nerf3d.models.graf import GRAFGenerator, even_grid
from nerf3d.models.pigan import PiGANGenerator
from nerf3d.models.super_resolution import SuperResolution
from nerf3d.render.hierarchical import Hierarchical
from nerf3d.render.stratified import Stratified
from nerf3d.tasks.generate.kinds import one_kind, told
from nerf3d.tasks.generate.recipe import EG3D, GRAF, PiGAN
from nerf3d.tasks.generate.sights import seen

POSE = 25
"""Numbers of a camera (see `data.collections.eg3d`)."""


@runtime_checkable
class Generator(Protocol):
    """Makes fields of codes. `z` is how many numbers of chance make a code, `pose` how many of a camera, 0 for none; what it
    is told of the kind, where it is told kinds, comes after that.
    """

    z: int
    pose: int

    def codes(self, z: Float[Tensor, "b z"], told: Float[Tensor, "b p"] | None = None) -> Float[Tensor, "b *code"]:
        """Codes of chance and, where the generator is told from where they will be seen or of what kind, of that."""
        ...

    def usual(self) -> Float[Tensor, "*code"]:
        """The most usual code."""
        ...

    def track(self, codes: Float[Tensor, "b *code"]) -> None:
        """Let the usual code follow some codes of chance."""
        ...

    def fields(
        self, codes: Float[Tensor, "b *code"], rng: torch.Generator | None = None, noise: float = 0.0
    ) -> Sequence[Field]:
        """The objects of codes. `rng` is for training: it draws what noise there is, that of raw densities among it."""
        ...


class Planes(nn.Module):
    """EG3D's generator with its super-resolution. A code is w+: one w for each of the backbone's layers."""

    def __init__(self, recipe: EG3D, box: Box, rng: torch.Generator, kinds: int = 0) -> None:
        super().__init__()
        config = replace(recipe.generator, label=recipe.generator.label + kinds)
        self.z, self.pose = config.z, config.pose
        self.scenes = config.build(box, rng)
        enlarged = recipe.super_resolution
        self.upsampler = enlarged.build(config.color_channels, config.w, rng) if enlarged is not None else None

    def codes(self, z: Float[Tensor, "b z"], told: Float[Tensor, "b p"] | None = None) -> Float[Tensor, "b layers w"]:
        return self.scenes.mapping(z, told)[:, None].expand(-1, self.scenes.layers, -1)

    def usual(self) -> Float[Tensor, "layers w"]:
        return self.scenes.mapping.mean.expand(self.scenes.layers, -1)

    def track(self, codes: Float[Tensor, "b layers w"]) -> None:
        self.scenes.mapping.track(codes[:, 0])

    def fields(
        self, codes: Float[Tensor, "b layers w"], rng: torch.Generator | None = None, noise: float = 0.0
    ) -> list[TriPlane]:
        return self.scenes.fields(codes, rng)


@dataclass(frozen=True)
class Colors:
    """A field's first three channels, which are its colors; the others are features for super-resolution."""

    field: Field

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self.field.density(x)

    def __call__(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        whole = self.field(x, d)
        return Radiance(whole.density, whole.color[:, :3])


@dataclass(frozen=True)
class Twice:
    """Stratified samples, and more where the field itself has weight at them (pi-GAN and EG3D: two passes, one network)."""

    space: Space
    count: int
    fine: int

    def __call__(self, field: Field, rays: Rays, rng: torch.Generator | None) -> Samples:
        with torch.no_grad():
            return Hierarchical(field, self.space, self.count, self.fine)(field, rays, rng)


class Makers(nn.Module):
    """A `Maker` by the running mean of the generator's weights, beside the generator as it is on the way."""

    pose: Tensor
    """What a generator that is told the pose is told where objects are drawn, to be seen from all sides."""
    shares: Tensor
    """How often each kind is drawn where none is asked for, and last objects of none."""

    def __init__(
        self, recipe: EG3D | PiGAN | GRAF, box: Box, rng: torch.Generator, kinds: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.kinds = kinds if isinstance(recipe, EG3D) and recipe.kinds else ()
        self.region = Region(box)
        self.generator = _generator(recipe, box, rng, len(self.kinds))
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.register_buffer("pose", torch.zeros(POSE))
        if self.kinds:
            self.register_buffer("shares", torch.ones(1 + len(self.kinds)))

    @property
    def sampler(self) -> Sampler:
        """Wherever the weights are by now."""
        space, recipe = self.region.space, self.recipe
        return Twice(space, recipe.samples, recipe.fine) if recipe.fine else Stratified(space, recipe.samples)

    def draw(
        self, count: int, rng: torch.Generator, truncation: float = 1.0, kind: str | None = None
    ) -> Float[Tensor, "n *code"]:
        rows: Tensor | None = None
        if kind is not None:
            rows = one_kind(self.kinds, kind, count)  # it refuses kinds that are not known
        elif self.kinds:
            rows = told(self.shares.to(rng.device).multinomial(count, replacement=True, generator=rng), self.kinds)
        poses = self.pose.expand(count, -1) if self.average.pose else None
        z = torch.randn(count, self.average.z, generator=rng, device=rng.device).to(self.pose)
        codes = self.average.codes(z, conditions(poses, None if rows is None else rows.to(self.pose)))
        usual = self.average.usual()
        return usual + truncation * (codes - usual)

    def fields(self, codes: Float[Tensor, "n *code"]) -> list[Field]:
        fields = self.average.fields(codes)
        features = isinstance(self.recipe, EG3D) and self.recipe.generator.color_channels > 3
        return [Colors(field) if features else field for field in fields]

    def read(self, pictures: Float[Tensor, "n h w 4"]) -> Float[Tensor, "n *code"]:
        usual = self.average.usual()
        return usual.expand(len(pictures), *usual.shape)

    @torch.no_grad()
    def finished(self, codes: Float[Tensor, "n *code"], cameras: Cameras) -> Float[Tensor, "n h w 3"]:
        """Each object from its own camera, through super-resolution where there is one, which decides the size then."""
        height, width, recipe = cameras.height, cameras.width, self.recipe
        upsampler = upsampler_of(self.average)
        if isinstance(recipe, EG3D) and upsampler is not None:
            height = width = round(recipe.raw(1.0))
        grids = even_grid(height, width).to(self.pose).expand(len(codes), -1, -1, -1)
        raw = seen(
            self.average.fields(codes), cameras.to(self.pose.device), grids, self.sampler, recipe.background, None
        )
        return (raw[..., :3] if upsampler is None else upsampler(raw, codes[:, -1])).clamp(0, 1)

    @torch.no_grad()
    def follow(self, keep: float) -> None:
        """Let the running mean come nearer to the generator: mean = keep mean + (1 - keep) generator."""
        for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
        for kept, there in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(there)


def upsampler_of(generator: nn.Module) -> SuperResolution | None:
    """What makes finished pictures of a generator's rendered features, where it has that."""
    return generator.upsampler if isinstance(generator, Planes) else None


def conditions(poses: Float[Tensor, "b p"] | None, kinds: Float[Tensor, "b k"] | None) -> Float[Tensor, "b c"] | None:
    """What a network is told of poses and kinds, one behind the other; None for nothing. An object of no kind has zeros.

    >>> conditions(torch.tensor([[5.0]]), torch.tensor([[torch.nan, torch.nan]]))
    tensor([[5., 0., 0.]])
    """
    parts = [part.nan_to_num() for part in (poses, kinds) if part is not None]
    return torch.cat([part.to(parts[0]) for part in parts], 1) if parts else None


def _generator(
    recipe: EG3D | PiGAN | GRAF, box: Box, rng: torch.Generator, kinds: int
) -> Planes | PiGANGenerator | GRAFGenerator:
    return Planes(recipe, box, rng, kinds) if isinstance(recipe, EG3D) else recipe.generator.build(box, rng)
