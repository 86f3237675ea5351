"""The story of a prompt: random views of a field should look, to a text-to-image model, like what the prompt says."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from nerf3d.core import Cameras, Field, Group, Guidance, Rays, Rendering, Update
from nerf3d.core.chance import here
from nerf3d.core.schedules import Constant, Schedule
from nerf3d.fields.common import Networked
from nerf3d.guidance.vsd import Learner
from nerf3d.render.render import render
from nerf3d.render.shading import Lit
from nerf3d.tasks.text import losses
from nerf3d.tasks.text.recipe import Text
from nerf3d.tasks.text.scenery import HALF, Scenery
from nerf3d.tasks.text.views import random_views

CLAY = 0.8


class TextTask(nn.Module):
    """A `core.Task`. The scene is a module of its own: what it looks like can be seen without the teacher."""

    def __init__(
        self, recipe: Text, guidance: Guidance, rng: torch.Generator, device: torch.device | None = None
    ) -> None:
        """`device` is where it will be trained, where the guidance is."""
        super().__init__()
        self.recipe = recipe
        self.scenery = Scenery(recipe, rng, device).to(device)
        self.guidance = guidance
        self.student = guidance.student if isinstance(guidance, Learner) else None

    def players(self) -> dict[str, list[Group]]:
        rate, recipe = self.recipe.rate, self.recipe
        networks = [p for m in self.scenery.modules() if isinstance(m, Networked) for p in m.networks()]
        sky = list(self.scenery.sky.parameters()) if self.scenery.sky is not None else []
        slow = {id(p) for p in (*networks, *sky)}
        grids = [p for p in self.scenery.parameters() if id(p) not in slow]
        groups = [Group(grids, rate), Group(networks, recipe.network_rate or rate), Group(sky, Constant(1e-3))]
        players = {"scene": [group for group in groups if group.parameters]}
        return players | self.guidance.players() if isinstance(self.guidance, Learner) else players

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        if step % 8 == 0:
            self.scenery.sampler.update(self.scenery.field, step, rng)
        chance = here(rng)
        cameras = random_views(self.recipe.views, progress, chance).to(rng.device)
        rays = _all_rays(cameras)
        field, sky = self._shaded(progress, chance), self._sky(rays, cameras, chance)
        out = render(field, rays, self.scenery.sampler, sky, rng)
        images = out.color.reshape(len(cameras), cameras.height, cameras.width, 3)
        judged = self.guidance(images, cameras, progress, rng)
        opacity = out.opacity.detach()
        figures = {
            "opacity": opacity.mean(),
            "solid": (opacity > 0.9).float().mean(),
            "contrast": images.detach().std(),
        }
        found = judged | self._regularise(rays, out)
        yield Update("scene", found, {**figures, "samples": float(len(out.samples))})
        if isinstance(self.guidance, Learner):
            yield Update("student", self.guidance.study(images.detach(), cameras, progress, rng))

    def budget(self) -> str:
        return f"views.count={self.recipe.views.count}"

    def halve(self) -> bool:
        views = self.recipe.views
        if views.count < 2:
            return False
        self.recipe = replace(self.recipe, views=replace(views, count=views.count // 2))
        return True

    def _shaded(self, progress: float, rng: torch.Generator) -> Field:
        """The field as it is, under a light, or as clay."""
        shading, field = self.recipe.shading, self.scenery.field
        lit, clay, ambient = torch.rand(3, generator=rng).tolist()
        if progress < shading.begin or lit > shading.lit:
            return field
        low, high = shading.ambient
        offset = 0.7 * torch.randn(3, generator=rng) + torch.tensor([0.0, 0.0, 0.6])
        offset = offset.to(self.scenery.box.low.device)
        return Lit(field, offset, low + (high - low) * ambient, shading.width, CLAY if clay < shading.clay else None)

    def _sky(self, rays: Rays, cameras: Cameras, rng: torch.Generator) -> Tensor:
        if self.scenery.sky is not None:
            return self.scenery.sky(rays.direction)
        if self.recipe.background == "white":
            return torch.ones(3, device=rays.direction.device)
        return losses.sky(losses.random_sky(len(cameras), rng).to(rays.direction.device), cameras.width)

    def _regularise(self, rays: Rays, out: Rendering) -> dict[str, Tensor]:
        weights, found = self.recipe.weights, {}
        if _counts(weights.sparsity):
            found["sparsity"] = losses.sparsity(out.opacity)
        if _counts(weights.opaque):
            found["opaque"] = losses.opaque(out.opacity)
        if _counts(weights.orientation):
            found["orientation"] = losses.orientation(self.scenery.field, rays, out, self.recipe.shading.width)
        if _counts(weights.distortion):
            found["distortion"] = losses.compact(out, 2 * HALF)
        return found


def _counts(schedule: Schedule) -> bool:
    return any(schedule(at / 20) != 0 for at in range(21))


def _all_rays(cameras: Cameras) -> Rays:
    """The rays of all pixels of all cameras, one camera after the other."""
    each = [cameras.rays(i) for i in range(len(cameras))]
    return Rays(
        torch.cat([r.origin for r in each]),
        torch.cat([r.direction for r in each]),
        torch.cat([r.near for r in each]),
        torch.cat([r.far for r in each]),
    )
