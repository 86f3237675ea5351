"""The story of a reconstruction, on a scene of a few hundred pixels."""

from dataclasses import replace

import pytest
import tiny
import torch

from nerf3d.config import find_recipe, from_plain, load_yaml, override, recipes
from nerf3d.core import Cameras, Rays
from nerf3d.core.numerics import normalize
from nerf3d.data.capture import Capture
from nerf3d.errors import InputError
from nerf3d.kernels.adam import Adam
from nerf3d.metrics.pictures import psnr
from nerf3d.tasks.fit import Fit, FitTask
from nerf3d.tasks.fit.compare import compare, photograph
from nerf3d.tasks.fit.corrections import Appearance, Poses
from nerf3d.tasks.fit.sanity import check_recipe
from nerf3d.tasks.fit.task import MOST_RAYS, over
from nerf3d.train import Budget, Progress, Report, begin, train


@pytest.fixture(scope="module")
def capture() -> Capture:
    return tiny.capture()


def recipe(*settings: str, preset: str = "ngp_blender") -> Fit:
    return from_plain(Fit, override(load_yaml(find_recipe(preset, "fit")), settings), "a test")


def run(capture: Capture, plan: Fit, steps: int, until: int | None = None) -> tuple[FitTask, list[Report], Progress]:
    """Train for `steps`, or stop after `until` of them."""
    task = FitTask(plan, capture, torch.Generator().manual_seed(0))
    state = begin(task, torch.Generator().manual_seed(1), Adam)
    weights = {name: getattr(plan.weights, name) for name in plan.weights.__dataclass_fields__}
    reports = []
    for report in train(task, state, Budget(steps), weights, plan.warmup):
        reports.append(report)
        if report.step == until:
            break
    return task, reports, state


def held_out_psnr(task: FitTask, capture: Capture) -> float:
    values = [psnr(*compare(task.scene(), capture.test, index)) for index in range(len(capture.test))]
    return sum(values) / len(values)


def test_it_learns_what_the_photographs_show(capture: Capture) -> None:
    plan = recipe(*tiny.SMALL, "samples=8192", "rays=256")
    task, reports, _ = run(capture, plan, 100)
    first, last = (sum(r.losses["photometric"] for r in part) for part in (reports[:10], reports[-10:]))
    assert last < 0.1 * first
    before = FitTask(plan, capture, torch.Generator().manual_seed(0))
    assert held_out_psnr(before, capture) < 9  # white throughout
    assert held_out_psnr(task, capture) > 18


def test_a_surface_is_learnt(capture: Capture) -> None:
    """30 steps on a ball of radius 1 in a box of half side 1.5: the distance begins with radius 0.75."""
    plan = recipe(*SURFACE, "rays=256", "samples=4096", "rate.start=0.03", preset="neus")
    task, reports, _ = run(capture, plan, 30)
    first, last = (sum(r.losses["photometric"] for r in part) for part in (reports[:3], reports[-3:]))
    assert last < 0.5 * first
    assert set(reports[0].losses) == {"photometric", "eikonal", "mask"}
    sphere = normalize(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)))
    before = FitTask(plan, capture, torch.Generator().manual_seed(0))
    with torch.no_grad():
        was, now = (t.field.distance(sphere).abs().mean() for t in (before, task))
    assert float(now) < 0.3 * float(was)


def test_a_surfaces_levels_join_in_one_after_another(capture: Capture) -> None:
    plan = recipe(*SURFACE, "field.layout.levels=6", "levels_until=0.5", preset="neus")
    task = FitTask(plan, capture, torch.Generator().manual_seed(0))
    levels = []
    for progress in (0.0, 0.25, 0.5, 0.9):
        next(iter(task.step(1, progress, torch.Generator().manual_seed(0))))
        levels.append(float(task.field.levels))
    assert levels == [4.0, 5.0, 6.0, 6.0]


def test_a_loss_of_weight_0_is_not_computed(capture: Capture) -> None:
    plan = recipe(*SURFACE, "weights={eikonal: 0.0, mask: 0.0}", preset="neus")
    assert set(run(capture, plan, 1)[1][0].losses) == {"photometric"}


def test_opacities_need_photographs_with_alpha(capture: Capture) -> None:
    opaque = replace(capture, train=replace(capture.train, images=capture.train.images[..., :3]))
    with pytest.raises(InputError, match=r"alpha .* weights\.mask=0"):
        FitTask(recipe(*SURFACE, preset="neus"), opaque, torch.Generator())
    FitTask(recipe(*SURFACE, "weights.mask=0", preset="neus"), opaque, torch.Generator())


def test_runs_with_one_seed_are_the_same_to_the_last_bit(capture: Capture) -> None:
    first, second = (run(capture, recipe(*tiny.SMALL), 20)[0].state_dict() for _ in range(2))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


HASH = tiny.SMALL
DISTANCE = "field={kind: SignedDistance, layout: {levels: 4, features: 2, log2_table_size: 12, coarsest: 8, finest: 32}"
DISTANCE += ", width: 16, color_layers: 1, geometry_features: 8}"
SURFACE = (DISTANCE, *tiny.SMALL[4:])
OTHER = ("rays=64", "warmup=1")
MLP = ("field={kind: FrequencyMLP, width: 16, depth: 2, skip: 1, color_width: 8}", "samples=null", *OTHER)
PLANES = (
    "field={kind: VectorMatrix, resolution: 8, final_resolution: 16, density_rank: 2, color_rank: 3, width: 8}",
    "samples=null",
    *OTHER,
)
COARSE_TO_FINE = "sampler={kind: CoarseToFine, coarse_count: 8, fine_count: 8}"
PROPOSALS = (
    "sampler={kind: Proposals, sampling: {counts: [16, 8], final_count: 8}, finest: [16, 32], log2_table_size: 10}"
)
GRID = "sampler={kind: Occupancy, resolution: 8, steps_per_side: 24}"
VARIANTS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "hash grid, occupancy": (HASH, set()),
    "hash grid, contracted": ((*HASH, "space=contracted", "sampler.growth=0.02", "sampler.near=0.1"), set()),
    "hash grid, coarse to fine": ((*HASH[:4], *OTHER, COARSE_TO_FINE, "weights.coarse=1.0"), {"coarse"}),
    "hash grid, proposals": (
        (*HASH[:4], *OTHER, PROPOSALS, "weights={interlevel: 1.0, distortion: 0.002}"),
        {"interlevel", "distortion"},
    ),
    "hash grid, occupancy, distortion": ((*HASH, "weights.distortion=0.01"), {"distortion"}),
    "distance, occupancy": ((*SURFACE, "weights={eikonal: 0.01, mask: 0.01}"), {"eikonal", "mask"}),
    "distance, coarse to fine": (
        (DISTANCE, *OTHER, COARSE_TO_FINE, "weights={coarse: 1.0, eikonal: 0.01}"),
        {"coarse", "eikonal"},
    ),
    "distance, proposals, contracted": (
        (DISTANCE, *OTHER, PROPOSALS, "space=contracted", "weights={interlevel: 1.0, eikonal: 0.01}"),
        {"interlevel", "eikonal"},
    ),
    "network, coarse to fine": ((*MLP, COARSE_TO_FINE, "weights.coarse=1.0", "loss=mse"), {"coarse"}),
    "network, occupancy": ((*MLP, GRID), set()),
    "network, proposals": ((*MLP, PROPOSALS, "weights.interlevel=1.0"), {"interlevel"}),
    "planes, occupancy": (
        (*PLANES, GRID, "upsample_at=[0.3, 0.6]", "weights={sparsity: 0.001, smoothness: 0.1}"),
        {"sparsity", "smoothness"},
    ),
    "planes, coarse to fine": ((*PLANES, COARSE_TO_FINE, "weights.coarse=1.0", "background=black"), {"coarse"}),
    "planes, proposals, contracted": (
        (*PLANES, PROPOSALS, "space=contracted", "weights={interlevel: 1.0, distortion: 0.01}"),
        {"interlevel", "distortion"},
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_field_and_sampler_trains(name: str, capture: Capture) -> None:
    settings, more_losses = VARIANTS[name]
    before = FitTask(recipe(*settings), capture, torch.Generator().manual_seed(0))
    task, reports, _ = run(capture, recipe(*settings), 3)
    assert len(reports) == 3
    for report in reports:
        assert set(report.losses) == {"photometric"} | more_losses
        assert all(0 <= loss < 1e3 for loss in report.losses.values())
        assert report.figures["samples"] > 0
    was = dict(before.named_parameters())
    learnt = {n for n, p in task.named_parameters() if p.shape == was[n].shape and not torch.equal(p, was[n])}
    assert learnt >= {n for n, p in was.items() if ("network" in n or "trunk" in n) and n.startswith("field")}
    picture, truth = compare(task.scene(), capture.test, 0, longest=6)
    assert picture.shape == truth.shape == (6, 6, 3)
    assert bool(picture.isfinite().all())


def test_planes_grow_finer_and_the_optimiser_follows(capture: Capture) -> None:
    settings = (*PLANES, GRID, "upsample_at=[0.25, 0.5]")
    task, _, state = run(capture, recipe(*settings), 8, until=3)
    assert task.field.resolution == 11  # the geometric mean of 8 and 16
    task, _, state = run(capture, recipe(*settings), 8)
    assert task.field.resolution == 16
    held = {id(p) for group in state.optimizers["scene"].param_groups for p in group["params"]}
    assert held == {id(p) for p in task.parameters()}
    assert {id(p) for p in state.optimizers["scene"].state} <= held


@pytest.mark.parametrize("until", [1, 3, 5])
def test_a_run_of_growing_planes_is_resumed_to_the_same_bits(until: int, capture: Capture) -> None:
    plan = recipe(*PLANES, GRID, "upsample_at=[0.25, 0.5]")
    whole, _, _ = run(capture, plan, 8)
    half, _, state = run(capture, plan, 8, until=until)
    saved = {"task": half.state_dict(), "progress": state.state_dict()}
    again = FitTask(plan, capture, torch.Generator().manual_seed(0))
    progress = begin(again, torch.Generator(), Adam)
    again.load_state_dict(saved["task"])
    progress.load_state_dict(saved["progress"])
    for _ in train(again, progress, Budget(8), {}, plan.warmup):
        pass
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_masked_pixels_teach_nothing(capture: Capture) -> None:
    """Two captures that differ where the masks are black only, and there as much as can be."""
    masks = torch.ones(capture.train.images.shape[:3], dtype=torch.bool)
    masks[:, :, :12] = False
    other = capture.train.images.clone()
    other[:, :, :12] = 255 - other[:, :, :12]
    task, with_masks = (
        run(replace(capture, train=replace(capture.train, images=images, masks=masks)), recipe(*tiny.SMALL), 10)[0]
        for images in (capture.train.images, other)
    )
    for name, tensor in task.state_dict().items():
        assert torch.equal(tensor, with_masks.state_dict()[name]), name
    unmasked, _, _ = run(capture, recipe(*tiny.SMALL), 10)
    assert not torch.equal(unmasked.field.table, task.field.table)


def test_a_batch_of_masked_pixels_only_is_no_trouble(capture: Capture) -> None:
    masks = torch.zeros(capture.train.images.shape[:3], dtype=torch.bool)
    _, reports, _ = run(replace(capture, train=replace(capture.train, masks=masks)), recipe(*tiny.SMALL), 2)
    assert [report.losses["photometric"] for report in reports] == [0.0, 0.0]


def test_random_backgrounds_show_through_where_pictures_are_transparent(capture: Capture) -> None:
    task = FitTask(recipe(*tiny.SMALL, "rays=512"), capture, torch.Generator().manual_seed(0))
    batch = task._draw(torch.Generator().manual_seed(3))
    through = (batch.target - batch.background).abs().amax(-1) < 1e-6
    assert 0.3 < float(through.float().mean()) < 0.9
    assert float(batch.background.std()) > 0.25
    for name, value in (("white", 1.0), ("black", 0.0)):
        fixed = FitTask(recipe(*tiny.SMALL, f"background={name}"), capture, torch.Generator())
        assert bool((fixed._draw(torch.Generator()).background == value).all())


def test_a_batch_belongs_to_its_pixels(capture: Capture) -> None:
    """Every ray, projected into its photograph, meets the pixel whose color is its target."""
    task = FitTask(recipe(*tiny.SMALL, "rays=256"), capture, torch.Generator().manual_seed(0))
    batch = task._draw(torch.Generator().manual_seed(3))
    pixel, z = capture.train.cameras.project(batch.view, batch.rays.at(torch.full((256,), 2.5)))
    assert bool((z > 0).all())
    assert torch.allclose(pixel, pixel.floor() + 0.5, atol=1e-3)
    x, y = pixel.floor().long().unbind(-1)
    color = capture.train.images[batch.view, y, x].float() / 255
    torch.testing.assert_close(batch.target, over(color, batch.background))


def test_over() -> None:
    """By hand: a quarter of red (1, 0, 0) over (0, 1, 0.5) is (0.25, 0.75, 0.375); opaque pictures stay."""
    pixel = torch.tensor([[1.0, 0.0, 0.0, 0.25]])
    torch.testing.assert_close(over(pixel, torch.tensor([0.0, 1.0, 0.5])), torch.tensor([[0.25, 0.75, 0.375]]))
    assert torch.equal(over(pixel[:, :3], torch.ones(3)), pixel[:, :3])


def test_the_number_of_rays_follows_the_budget_of_samples(capture: Capture) -> None:
    plan = recipe(*tiny.SMALL, "samples=4000", "rays=100")
    _, reports, _ = run(capture, plan, 3)
    first = reports[0].figures
    assert first["rays"] == 100
    # In the first steps it goes all the way at once: n wanted / n had.
    assert reports[1].figures["rays"] == round(100 * 4000 / first["samples"])
    task = FitTask(plan, capture, torch.Generator())
    for step in range(20, 80):  # later a tenth of the way: 7 samples a ray ask for 4000 / 7 rays
        task._adapt(7 * round(float(task.rays_per_step)), step)
    assert float(task.rays_per_step) == pytest.approx(4000 / 7, rel=0.01)
    fixed = run(capture, recipe(*tiny.SMALL, "samples=null", "rays=100"), 3)[1]
    assert {report.figures["rays"] for report in fixed} == {100.0}


def test_the_number_of_rays_has_bounds(capture: Capture) -> None:
    task = FitTask(recipe(*tiny.SMALL), capture, torch.Generator().manual_seed(0))
    task._adapt(0, 0)  # nothing was hit at all
    assert float(task.rays_per_step) == MOST_RAYS
    task._adapt(10**9, 0)
    assert float(task.rays_per_step) == 64
    task._adapt(1024, 100)  # later only a tenth of the way: wanted are 64 * 2048 / 1024 = 128
    assert float(task.rays_per_step) == pytest.approx(0.9 * 64 + 0.1 * 128)


def test_all_cameras_at_one_point_are_refused(capture: Capture) -> None:
    pose = capture.train.cameras.world_from_camera.clone()
    pose[:, :, 3] = 1.0
    train_views = replace(capture.train, cameras=replace(capture.train.cameras, world_from_camera=pose))
    with pytest.raises(InputError, match="all cameras stand at the same point"):
        FitTask(recipe(*tiny.SMALL), replace(capture, train=train_views, box=None), torch.Generator())


def test_recipes_with_sense() -> None:
    check_recipe(Fit(), "the defaults")
    for name in recipes("fit"):
        check_recipe(recipe(preset=name), name)
    for settings, _ in VARIANTS.values():
        check_recipe(recipe(*settings), "a variant")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["focus=0"], r"focus is 0, and a number above 0"),
        (["warmup=-1"], r"warmup is -1, and a number from 0 on"),
        (["sampler.stop=1"], r"sampler\.stop is 1"),
        (["sampler={kind: CoarseToFine, coarse_count: 0}"], r"sampler\.coarse_count is 0"),
        (["sampler={kind: Proposals, sampling: {counts: [8, 0]}}"], r"sampler\.sampling\.counts\[1\] is 0"),
        (["rate={kind: Ramp, start: 1, stop: 1, begin: 1, until: 1}"], r"rate\.until is 1, which is not after"),
        (["network_rate={kind: Decay, start: 1, stop: 0}"], r"network_rate decays from 1 to 0"),
        (["field.layout.finest=3"], r"field\.layout\.finest is 3, less than"),
        (["field={kind: VectorMatrix, resolution: 1}"], r"field\.resolution is 1"),
        (["field={kind: VectorMatrix, resolution: 9, final_resolution: 8}"], r"field\.resolution is 9"),
        (["upsample_at=[0.5, 1.5]"], r"upsample_at has shares"),
        (["weights.eikonal=1"], r"weights\.eikonal needs the field SignedDistance"),
        (["levels_until=0.5"], r"levels_until needs the field SignedDistance"),
        (["levels_until=2"], r"levels_until is 2, and 1 is the most"),
        (["field={kind: SignedDistance, beta: 0.001}"], r"field\.beta is 0\.001, and a number above field\.least_beta"),
        (["field={kind: SignedDistance, layout: {finest: 3}}"], r"field\.layout\.finest is 3, less than"),
        (["weights.interlevel=1"], r"weights\.interlevel needs the sampler Proposals"),
    ],
)
def test_recipes_without_sense(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=rf"own\.yaml: {message}"):
        check_recipe(recipe(*settings), "own.yaml")


# What photographs get wrong.


def test_corrections_are_learnt(capture: Capture) -> None:
    plan = recipe(*tiny.SMALL, "appearance=true", "poses=true", "weights={appearance: 0.01, poses: 0.01}")
    task, reports, _ = run(capture, plan, 5)
    assert set(reports[0].losses) == {"photometric", "appearance", "poses"}
    assert reports[0].losses["appearance"] == reports[0].losses["poses"] == 0.0  # it begins with none
    assert task.appearance is not None
    assert task.poses is not None
    for parameter in (task.appearance.matrix, task.appearance.offset, task.poses.motion):
        assert parameter.grad is not None
        assert float(parameter.detach().abs().amax()) > 0
        assert bool(parameter.isfinite().all())


def test_poses_find_the_way_back(capture: Capture) -> None:
    """A scene that is known, cameras that were moved: the gradient finds motions that show the same pictures."""
    from nerf3d.render.render import render
    from nerf3d.render.stratified import Stratified

    class Soft:
        """A colored cloud, smooth everywhere, so that pictures say where they were taken from."""

        def density(self, x: torch.Tensor) -> torch.Tensor:
            return 4 * torch.exp(-x.square().sum(-1))

        def __call__(self, x: torch.Tensor, d: torch.Tensor):
            from nerf3d.core import Radiance

            return Radiance(self.density(x), torch.sigmoid(3 * x))

    views = tiny.cameras(3, size=12)
    moved = Poses(3, 1.5)
    with torch.no_grad():
        moved.motion.copy_(0.04 * torch.randn(3, 6, generator=torch.Generator().manual_seed(0)))
    correction = Poses(3, 1.5)
    sampler, field = Stratified(tiny.BOX, 48), Soft()
    rays = [views.rays(index) for index in range(3)]
    index = torch.arange(3).repeat_interleave(len(rays[0]))
    together = Rays(*(torch.cat([getattr(r, n) for r in rays]) for n in ("origin", "direction", "near", "far")))
    with torch.no_grad():
        target = render(field, moved(together, index), sampler).color
    optimizer = torch.optim.Adam(correction.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        loss = (render(field, correction(together, index), sampler).color - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.01 * losses[0]
    apart = (correction.motion - moved.motion).detach().norm()  # a turn and a step sideways look much alike
    assert float(apart) < 0.6 * float(moved.motion.detach().norm())


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-4, 9.9e-4, 1.1e-3, 0.02, 1.0, 3.0])
def test_poses_turn_by_the_matrix_exponential(angle: float) -> None:
    rng = torch.Generator().manual_seed(2)
    axis = normalize(torch.randn(5, 3, generator=rng))
    shift = torch.randn(5, 3, generator=rng)
    direction = normalize(torch.randn(5, 3, generator=rng))
    poses = Poses(5, 2.0)
    with torch.no_grad():
        poses.motion.copy_(torch.cat([angle * axis, shift], -1))
    zero = torch.zeros(5)
    moved = poses(Rays(torch.ones(5, 3), direction, zero, zero + 9), torch.arange(5))

    def expected(motion: torch.Tensor) -> torch.Tensor:
        x, y, z = motion[:, :3].unbind(-1)
        o = torch.zeros_like(x)
        cross = torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(-1, 3, 3)
        return (torch.matrix_exp(cross) @ direction.to(motion.dtype)[:, :, None])[..., 0]

    exact = poses.motion.detach().double().requires_grad_()
    torch.testing.assert_close(moved.direction, expected(exact).float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(moved.direction.norm(dim=-1), torch.ones(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(moved.origin, 1 + 2.0 * shift)
    weight = torch.randn(5, 3, generator=rng)
    (gradient,) = torch.autograd.grad((moved.direction * weight).sum(), poses.motion)
    (wanted,) = torch.autograd.grad((expected(exact) * weight.double()).sum(), exact)
    torch.testing.assert_close(gradient[:, :3], wanted.float()[:, :3], atol=2e-4, rtol=1e-3)


def test_appearance_is_an_affine_map_of_each_photograph() -> None:
    appearance = Appearance(2)
    color = torch.tensor([[0.2, 0.4, 0.6], [0.2, 0.4, 0.6]])
    assert torch.equal(appearance(color, torch.tensor([0, 1])), color)
    with torch.no_grad():
        appearance.matrix[1] = torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
        appearance.offset[1] = torch.tensor([0.0, 0.0, -0.1])
    expected = torch.tensor([[0.2, 0.4, 0.6], [0.3, 1.0, 0.5]])
    torch.testing.assert_close(appearance(color, torch.tensor([0, 1])), expected)
    assert float(appearance.penalty().detach()) == pytest.approx((0.25 + 1.0) / 18 + 0.01 / 6)


# A scene beside its photographs.


def test_compare_shows_the_photograph_over_the_scenes_background(capture: Capture) -> None:
    task = FitTask(recipe(*tiny.SMALL), capture, torch.Generator().manual_seed(0))
    scene = task.scene()
    assert torch.equal(scene.background, torch.ones(3))
    rendered, truth = compare(scene, capture.test, 1)
    assert rendered.shape == truth.shape == (24, 24, 3)
    assert torch.equal(truth, photograph(capture.test, 1, torch.ones(3)))
    assert bool((truth[0, 0] == 1).all())
    _, small = compare(scene, capture.test, 1, longest=8)
    torch.testing.assert_close(small, truth.reshape(8, 3, 8, 3, 3).mean((1, 3)))
    opaque = replace(capture, train=replace(capture.train, images=capture.train.images[..., :3]))
    assert torch.equal(FitTask(recipe(*tiny.SMALL), opaque, torch.Generator()).scene().background, torch.zeros(3))


def test_compare_of_a_very_long_picture(capture: Capture) -> None:
    task = FitTask(recipe(*tiny.SMALL), capture, torch.Generator().manual_seed(0))
    views = Cameras.pinhole(capture.test.cameras.world_from_camera[:1], 100.0, 600, 1)
    long = replace(capture.test, images=torch.zeros(1, 1, 600, 4, dtype=torch.uint8), cameras=views, names=("a",))
    rendered, truth = compare(task.scene(), long, 0, longest=60)
    assert rendered.shape == truth.shape == (1, 60, 3)
