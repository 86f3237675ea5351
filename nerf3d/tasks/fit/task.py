"""The story of a reconstruction: rays through photographed pixels should show what the photographs show."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from nerf3d.core import Cameras, Group, Rays, Rendering, Sampler, Scene, Update
from nerf3d.core.memory import learning_bytes, samples_bytes
from nerf3d.core.schedules import Decay
from nerf3d.data.capture import Capture
from nerf3d.errors import InputError
from nerf3d.fields.common import Networked
from nerf3d.fields.sdf import SignedDistanceField
from nerf3d.fields.tensorf import VectorMatrix, VectorMatrixField
from nerf3d.render.distortion import distortion
from nerf3d.render.occupancy import OccupancySampler
from nerf3d.render.proposal import ProposalSampler, interlevel
from nerf3d.render.render import render
from nerf3d.tasks.fit import losses as more
from nerf3d.tasks.fit.corrections import Appearance, Poses
from nerf3d.tasks.fit.recipe import CoarseToFine, Fit, Proposals
from nerf3d.tasks.fit.scenery import build_sampler, focus_box, space_of

LEAST_RAYS, MOST_RAYS = 64, 2**16
LEAST_SAMPLES = 1024
"""In a step; fewer teach nothing."""
HUBER_DELTA = 0.1  # instant-ngp's
FIRST_LEVELS = 4
"""Levels of a signed distance's grid that speak from the beginning, where the others join in later."""


@dataclass(frozen=True)
class Batch:
    """Random pixels of the training photographs."""

    view: Int64[Tensor, "n"]
    rays: Rays
    target: Float[Tensor, "n 3"]
    background: Float[Tensor, "n 3"]
    usable: Float[Tensor, "n"]
    """1, or 0 where the photograph is masked."""
    alpha: Float[Tensor, "n"] | None
    """What the photographs say about the opacity, if anything."""


class FitTask(nn.Module):
    """A `core.Task`. Everything that changes in training is a parameter or a buffer, and so is in its state."""

    def __init__(self, recipe: Fit, capture: Capture, rng: torch.Generator) -> None:
        super().__init__()
        self.recipe = recipe
        self.photographs = capture.train
        if recipe.weights.mask and not capture.train.has_alpha:
            raise InputError(
                "the recipe compares opacities with the alpha of the photographs, and these have none; photographs as PNG "
                "with a transparent background have it, and --set weights.mask=0 does without"
            )
        self.up = capture.up
        self.box = capture.box if capture.box is not None else focus_box(capture, recipe.focus)
        self.space = space_of(recipe, capture)
        self.field = recipe.field.build(self.space, rng)
        self._fixed, self.kept = build_sampler(recipe, self.space, rng)
        views = len(self.photographs)
        self.appearance = Appearance(views) if recipe.appearance else None
        self.poses = Poses(views, 0.5 * float(self.box.size.max())) if recipe.poses else None
        self._looks = _table_of_looks(capture.train.cameras) if self.photographs.images.numel() else None
        self.samples = recipe.samples
        self.register_buffer("rays_per_step", torch.tensor(float(recipe.rays), dtype=torch.float64))

    rays_per_step: Tensor
    """On the CPU, wherever the rest is: it is asked for in every step, for which a GPU would have to be waited for."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FitTask":
        rays = self.rays_per_step
        super()._apply(fn, recurse)
        self.rays_per_step = rays
        return self

    @property
    def sampler(self) -> Sampler:
        return self.kept if isinstance(self.kept, OccupancySampler) else self._fixed

    def players(self) -> dict[str, list[Group]]:
        rate, recipe = self.recipe.rate, self.recipe
        networks = [p for m in self.modules() if isinstance(m, Networked) for p in m.networks()]
        slow = {id(p) for p in networks}
        grids = [p for m in (self.field, self.kept) for p in m.parameters() if id(p) not in slow]
        groups = [Group(grids, rate), Group(networks, recipe.network_rate or rate)]
        for correction in (self.appearance, self.poses):
            if correction is not None:  # nerfacto's rates for poses; the colours' maps may follow as quickly
                groups.append(Group(list(correction.parameters()), Decay(1e-3, 1e-4)))
        return {"scene": [g for g in groups if g.parameters]}

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        if isinstance(self.sampler, OccupancySampler) and step % 16 == 0:
            self.sampler.update(self.field, step, rng)
        self._refine(progress)
        batch = self._draw(rng)
        out = render(self.field, batch.rays, self._sampler_at(progress), batch.background, rng)
        self._adapt(len(out.samples), step)
        losses = {"photometric": self._photometric(out.color, batch)} | self._more_losses(out, batch, rng)
        error = (out.color.detach() - batch.target).square().mean(-1) * batch.usable
        psnr = -10 * (error.sum() / batch.usable.sum().clamp_min(1)).clamp_min(1e-10).log10()
        counts = {"rays": float(len(batch.rays)), "samples": float(len(out.samples))}
        yield Update("scene", losses, {"psnr": psnr, **counts})

    def budget(self) -> str:
        return f"samples={self.samples}" if self.samples is not None else f"rays={round(float(self.rays_per_step))}"

    def halve(self) -> bool:
        rays = float(self.rays_per_step)
        if self.samples is not None and self.samples >= 2 * LEAST_SAMPLES:
            self.samples //= 2
        elif self.samples is not None or rays < 2 * LEAST_RAYS:
            return False
        self.rays_per_step.fill_(max(rays / 2, LEAST_RAYS))
        return True

    def step_bytes(self, rng: torch.Generator) -> float:
        samples = self.samples
        if samples is None:
            sampler, rays = self.recipe.sampler, round(float(self.rays_per_step))
            match sampler:
                case CoarseToFine():
                    samples = rays * (2 * sampler.coarse_count + sampler.fine_count)
                case Proposals():
                    samples = rays * sum(sampler.sampling.counts)
                case _:
                    samples = rays * sampler.steps_per_side
        return samples_bytes(self.field, self.box, samples) + learning_bytes(self.parameters())

    def scene(self) -> Scene:
        """What there is to look at."""
        light = {"white": 1.0, "black": 0.0}.get(self.recipe.background, float(self.photographs.has_alpha))
        background = torch.full((3,), light, device=self.up.device)
        return Scene(self.field, self._sampler_at(1.0), background, self.photographs.cameras, self.box, self.up)

    def _draw(self, rng: torch.Generator) -> Batch:
        images, cameras = self.photographs.images, self.photographs.cameras
        count = round(float(self.rays_per_step))
        device = images.device
        view, y, x = (torch.randint(size, (count,), generator=rng, device=device) for size in images.shape[:3])
        pixel = images[view, y, x].float() / 255
        if self._looks is not None:
            rays = cameras.rays_along(view, self._looks[y * cameras.width + x])
        else:
            rays = cameras.rays_at(view, torch.stack([x, y], -1) + 0.5)
        if self.poses is not None:
            rays = self.poses(rays, view)
        if self.recipe.background == "random":
            background = torch.rand(count, 3, generator=rng, device=device)
        else:
            background = torch.full((count, 3), float(self.recipe.background == "white"), device=device)
        usable = torch.ones(count, device=device)
        if self.photographs.masks is not None:
            usable = self.photographs.masks[view, y, x].float()
        alpha = pixel[:, 3] if self.photographs.has_alpha else None
        return Batch(view, rays, over(pixel, background), background, usable, alpha)

    def _photometric(self, color: Float[Tensor, "n 3"], batch: Batch) -> Float[Tensor, ""]:
        if self.appearance is not None:
            color = self.appearance(color, batch.view)
        if self.recipe.loss == "mse":
            each = F.mse_loss(color, batch.target, reduction="none")
        else:
            each = F.huber_loss(color, batch.target, reduction="none", delta=HUBER_DELTA)
        return (each.mean(-1) * batch.usable).sum() / batch.usable.sum().clamp_min(1)

    def _more_losses(self, out: Rendering, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        weights = self.recipe.weights
        losses = {}
        if weights.coarse:
            proposal = out.samples.proposals[0].samples
            coarse = render(self.kept, batch.rays, lambda *_: proposal, batch.background)  # type: ignore[arg-type]
            losses["coarse"] = self._photometric(coarse.color, batch)
        if weights.interlevel:
            losses["interlevel"] = interlevel(out.samples, out.weights).mean()
        if weights.distortion:
            samples = out.samples
            ends = (self._normalized(samples.start), self._normalized(samples.end))
            losses["distortion"] = distortion(*ends, out.weights, samples.ray, samples.offsets).mean()
        if isinstance(self.field, VectorMatrixField) and weights.sparsity:
            losses["sparsity"] = self.field.l1()
        if isinstance(self.field, VectorMatrixField) and weights.smoothness:
            losses["smoothness"] = self.field.tv()
        if isinstance(self.field, SignedDistanceField) and weights.eikonal:
            losses["eikonal"] = more.eikonal(self.field, batch.rays, out.samples, self.box, rng)
        if batch.alpha is not None and weights.mask:
            losses["mask"] = more.mask(out.opacity, batch.alpha, batch.usable)
        if self.appearance is not None and weights.appearance:
            losses["appearance"] = self.appearance.penalty()
        if self.poses is not None and weights.poses:
            losses["poses"] = self.poses.penalty()
        return losses

    def _normalized(self, distance: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Distances as numbers in [0, 1] in which near things count as much as far ones."""
        if isinstance(self.sampler, ProposalSampler):
            return self.sampler.normalized(distance)
        return distance / (distance + 0.5 * self.box.size.max())

    def _sampler_at(self, progress: float) -> Sampler:
        """Proposals are believed little by little in the first part of a run."""
        return self.sampler.at(min(5 * progress, 1.0)) if isinstance(self.sampler, ProposalSampler) else self.sampler

    def _adapt(self, samples: int, step: int) -> None:
        """Let the number of rays follow the budget of samples: quickly at first, then smoothly."""
        if self.samples is None:
            return
        wanted = float(self.rays_per_step) * self.samples / max(samples, 1)
        share = 1.0 if step < 20 else 0.1
        following = (1 - share) * float(self.rays_per_step) + share * wanted
        self.rays_per_step.fill_(min(max(following, LEAST_RAYS), MOST_RAYS))

    def _refine(self, progress: float) -> None:
        """Coarse shapes first: the field gets finer grids, or more of those that it has."""
        config, field, until = self.recipe.field, self.field, self.recipe.levels_until
        if isinstance(field, SignedDistanceField) and until:
            later = max(field.layout.levels - FIRST_LEVELS, 0)
            field.use_levels(FIRST_LEVELS + later * min(progress / until, 1.0))
        if not isinstance(field, VectorMatrixField) or not isinstance(config, VectorMatrix):
            return
        passed = sum(progress >= at for at in self.recipe.upsample_at)
        if passed:
            resolution = config.resolutions(len(self.recipe.upsample_at))[passed - 1]
            if field.resolution < resolution:
                field.upsample(resolution)


def over(pixel: Float[Tensor, "*n c"], background: Float[Tensor, "*#n 3"]) -> Float[Tensor, "*n 3"]:
    """A picture with straight alpha over a background, in the file's own sRGB values; opaque pixels as they are."""
    if pixel.shape[-1] == 3:
        return pixel
    color, alpha = pixel.split([3, 1], -1)
    return color * alpha + background * (1 - alpha)


def _table_of_looks(cameras: Cameras) -> Float[Tensor, "pixels 3"] | None:
    """Where each pixel looks, if that is the same for all cameras: undoing a lens at every step costs time."""
    if not cameras.share_a_lens:
        return None
    still = torch.eye(3, 4, device=cameras.intrinsics.device)[None]
    return replace(cameras[:1], world_from_camera=still).rays(0).direction
