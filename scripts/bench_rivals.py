"""The same training step by other programs' parts, where those are installed: all three want CUDA.

    nerfacc        its occupancy grid, sampler and renderer around this program's field
    tcnn           tiny-cuda-nn's encodings and fused networks, half precision inside, in this program's renderer
    nerfstudio     its field (on tiny-cuda-nn where that is installed, else on torch) and its sampler, on nerfacc's renderer

Rays, box, occupied cells, step length, layout of the grid, widths of the networks, loss and optimiser are this program's.
None of this could be tried where it was written: it follows nerfacc 0.5.3, tiny-cuda-nn 2.0 and nerfstudio 1.1.5 as they are
documented.
"""

from collections.abc import Callable
from importlib import import_module

import torch
from bench_scene import CELLS, FIELD, HALF, LAYOUT, Bench, optimised
from torch import Tensor, nn

from nerf3d.core import Radiance
from nerf3d.core.numerics import truncated_exp
from nerf3d.render.render import render

STOP = 1e-3
"""The share of light below which samplers look at nothing any more, as in `Occupancy`."""

Rendered = Callable[[], tuple[Tensor, int]]


def missing(name: str, device: torch.device) -> str | None:
    """Why another program cannot take part; None if it can."""
    if device.type != "cuda":
        return "it runs on CUDA only"
    for module in MODULES[name]:
        try:
            import_module(module)
        except Exception as error:  # a build for another GPU or another torch fails in ways of its own
            return f"{module} cannot be imported: {' '.join(str(error).split())}"
    return None


def rival_step(name: str, bench: Bench) -> Callable[[], int]:
    rendered, field = RIVALS[name](bench)
    return optimised(rendered, field, bench.target)


def nerfacc(bench: Bench) -> tuple[Rendered, nn.Module]:
    import nerfacc

    grid, rays, field = _occupancy(bench), bench.rays, bench.field

    def points(start: Tensor, end: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
        direction = rays.direction[ray]
        return rays.origin[ray] + direction * (0.5 * (start + end))[:, None], direction

    def density(start: Tensor, end: Tensor, ray: Tensor) -> Tensor:
        return field.density(points(start, end, ray)[0])

    def color_and_density(start: Tensor, end: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
        radiance = field(*points(start, end, ray))
        return radiance.color, radiance.density

    background = torch.full((3,), 0.5, device=bench.device)

    def rendered() -> tuple[Tensor, int]:
        ray, start, end = grid.sampling(
            rays.origin,
            rays.direction,
            sigma_fn=density,
            render_step_size=bench.sampler.lattice.step,
            early_stop_eps=STOP,
            stratified=True,
        )
        color, *_ = nerfacc.rendering(
            start, end, ray, n_rays=len(rays), rgb_sigma_fn=color_and_density, render_bkgd=background
        )
        return color, len(start)

    return rendered, field


class FusedField(nn.Module):
    """`nerf3d.fields.hash_grid` built of tiny-cuda-nn: a network behind a hash grid, another behind harmonics."""

    def __init__(self) -> None:
        import tinycudann as tcnn

        super().__init__()
        growth = (LAYOUT.finest / LAYOUT.coarsest) ** (1 / (LAYOUT.levels - 1))
        grid = {
            "otype": "HashGrid",
            "n_levels": LAYOUT.levels,
            "n_features_per_level": LAYOUT.features,
            "log2_hashmap_size": LAYOUT.log2_table_size,
            "base_resolution": LAYOUT.coarsest,
            "per_level_scale": growth,
        }
        harmonics = {"n_dims_to_encode": 3, "otype": "SphericalHarmonics", "degree": 4}
        features = FIELD.geometry_features
        joined = {"otype": "Composite", "nested": [harmonics, {"otype": "Identity", "n_dims_to_encode": features}]}
        self.geometry = tcnn.NetworkWithInputEncoding(3, features, grid, _fused(FIELD.density_layers))
        self.color = tcnn.NetworkWithInputEncoding(3 + features, 3, joined, _fused(FIELD.color_layers, "Sigmoid"))

    def density(self, x: Tensor) -> Tensor:
        return self._density(x, self._features(x))

    def forward(self, x: Tensor, d: Tensor) -> Radiance:
        h = self._features(x)
        color = self.color(torch.cat([0.5 * (d + 1), h], -1))  # tiny-cuda-nn wants directions in the unit cube
        return Radiance(self._density(x, h), color.float())

    def _features(self, x: Tensor) -> Tensor:
        return self.geometry((x + HALF) / (2 * HALF)).float()

    def _density(self, x: Tensor, h: Tensor) -> Tensor:
        inside = (x.abs() <= HALF).all(-1)
        return torch.where(inside, truncated_exp(h[:, 0].contiguous()) / HALF, 0.0)


def tcnn(bench: Bench) -> tuple[Rendered, nn.Module]:
    field = FusedField().to(bench.device)
    rng = torch.Generator(bench.device).manual_seed(0)

    def rendered() -> tuple[Tensor, int]:
        out = render(field, bench.rays, bench.sampler, 0.5, rng)
        return out.color, len(out.samples)

    return rendered, field


def nerfstudio(bench: Bench) -> tuple[Rendered, nn.Module]:
    import nerfacc
    from nerfstudio.cameras.rays import RayBundle
    from nerfstudio.field_components.field_heads import FieldHeadNames
    from nerfstudio.fields.nerfacto_field import NerfactoField
    from nerfstudio.model_components.ray_samplers import VolumetricSampler

    rays = bench.rays
    count, device = len(rays), bench.device
    field = NerfactoField(
        torch.tensor([[-HALF] * 3, [HALF] * 3]),
        num_images=1,
        num_layers=FIELD.density_layers + 1,
        hidden_dim=FIELD.width,
        geo_feat_dim=FIELD.geometry_features - 1,
        num_levels=LAYOUT.levels,
        base_res=LAYOUT.coarsest,
        max_res=LAYOUT.finest,
        log2_hashmap_size=LAYOUT.log2_table_size,
        features_per_level=LAYOUT.features,
        num_layers_color=FIELD.color_layers + 1,
        hidden_dim_color=FIELD.width,
        appearance_embedding_dim=0,
        average_init_density=1 / HALF,
        implementation="torch" if missing("tcnn", device) else "tcnn",
    ).to(device)
    sampler = VolumetricSampler(_occupancy(bench), field.density_fn)
    camera = torch.zeros(count, 1, dtype=torch.int64, device=device)
    bundle = RayBundle(rays.origin, rays.direction, torch.ones(count, 1, device=device), camera)
    background = torch.full((3,), 0.5, device=device)

    def rendered() -> tuple[Tensor, int]:
        with torch.no_grad():
            samples, ray = sampler(bundle, render_step_size=bench.sampler.lattice.step, alpha_thre=0.0)
        seen = field(samples)
        start, end = samples.frustums.starts[:, 0], samples.frustums.ends[:, 0]
        color, *_ = nerfacc.rendering(
            start,
            end,
            ray,
            n_rays=count,
            rgb_sigma_fn=lambda *_: (seen[FieldHeadNames.RGB], seen[FieldHeadNames.DENSITY][:, 0]),
            render_bkgd=background,
        )
        return color, len(start)

    return rendered, field


def _occupancy(bench: Bench):  # type: ignore[no-untyped-def]
    """nerfacc's grid with the same cells occupied."""
    import nerfacc

    grid = nerfacc.OccGridEstimator([-HALF] * 3 + [HALF] * 3, resolution=CELLS, levels=1).to(bench.device)
    grid.binaries.copy_(bench.occupied[None])
    return grid


def _fused(layers: int, last: str = "None") -> dict[str, str | int]:
    return {
        "otype": "FullyFusedMLP",
        "activation": "ReLU",
        "output_activation": last,
        "n_neurons": FIELD.width,
        "n_hidden_layers": layers,
    }


MODULES = {"nerfacc": ["nerfacc"], "tcnn": ["tinycudann"], "nerfstudio": ["nerfacc", "nerfstudio"]}
"""What has to be there to run each."""
RIVALS = {"nerfacc": nerfacc, "tcnn": tcnn, "nerfstudio": nerfstudio}
