"""The published recipes: their networks have the published sizes, and they train.

Parameters are counted by hand, layer by layer. Full-size networks are built without memory (torch's meta device); a step
is done with small pictures and planes.
"""

from dataclasses import replace

import pytest
import torch

from nerf3d.config import find_recipe, from_plain, load_yaml, recipes
from nerf3d.core import Box
from nerf3d.core.schedules import Constant
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import render_collection
from nerf3d.models.critic import dual
from nerf3d.tasks.generate.adversarial import AdversarialTask
from nerf3d.tasks.generate.makers import Makers, Planes
from nerf3d.tasks.generate.recipe import EG3D, GRAF, DiffAE, PiGAN
from nerf3d.train import Budget, begin, train

PUBLISHED = ["eg3d_afhq512", "eg3d_ffhq512", "eg3d_shapenet_cars128", "graf_carla128", "pigan_celeba128"]
Recipe = EG3D | PiGAN | GRAF
BACKBONE = (512, 512, 512, 512, 512, 256, 128)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def read(name: str) -> Recipe:
    return from_plain(Recipe, load_yaml(find_recipe(name, "gen")), name)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def layer(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def mlp(*widths: int) -> int:
    return sum(layer(i, o) for i, o in zip(widths, widths[1:]))


def convolution(i: int, o: int, w: int) -> int:
    """Style, 3 x 3, bias."""
    return layer(w, i) + 9 * i * o + o


def to_picture(i: int, o: int, w: int) -> int:
    return layer(w, i) + i * o + o


def backbone(channels: tuple[int, ...], outputs: int) -> int:
    pairs = [(channels[0], channels[0])]
    for i, o in zip(channels, channels[1:]):
        pairs += [(i, o), (o, o)]
    noise = len(pairs)
    convolutions = sum(convolution(i, o, 512) for i, o in pairs) + noise
    return 16 * channels[0] + convolutions + sum(to_picture(c, outputs, 512) for c in channels)


def critic(channels: tuple[int, ...], inputs: int, outputs: int) -> int:
    down, last = channels[::-1], channels[0]
    blocks = sum(9 * i * i + i + 9 * i * o + o + i * o for i, o in zip(down, down[1:]))
    end = 9 * (last + 1) * last + last + layer(16 * last, last) + layer(last, outputs)
    return layer(inputs, down[0]) + blocks + end


def test_the_hand_counts_are_those_that_were_published() -> None:
    """StyleGAN2's two networks for 1024 x 1024, whose logs say how large they are."""
    channels = (512, 512, 512, 512, 512, 256, 128, 64, 32)
    assert backbone(channels, 3) + mlp(*[512] * 9) == 30_370_060
    assert critic(channels, 3, 1) == 29_012_513


@pytest.mark.parametrize("name", ["eg3d_afhq512", "eg3d_ffhq512", "eg3d_shapenet_cars128"])
def test_eg3d_has_its_published_size(name: str) -> None:
    recipe = read(name)
    assert isinstance(recipe, EG3D)
    cars = "cars" in name
    with torch.device("meta"):
        generator, judge = Planes(recipe, Box.cube(0.5), rng()), recipe.critic.build(rng())
    assert recipe.generator.plane_resolution == 256
    mapping = mlp(512, 512, 512) if cars else layer(25, 512) + mlp(1024, 512, 512)
    assert count(generator.scenes) == mapping + backbone(BACKBONE, 3 * 32) + mlp(32, 64, 1 + 32)
    raised, i = 0, 32
    for o in (128, 64) if cars else (256, 128):
        raised += convolution(i, o, 512) + convolution(o, o, 512) + to_picture(o, 3, 512)
        i = o
    assert generator.upsampler is not None
    assert count(generator.upsampler) == raised
    down = BACKBONE[:6] if cars else (*BACKBONE, 64)
    assert count(judge) == critic(down, 6, 512) + layer(25, 512) + 8 * layer(512, 512)
    assert recipe.critic.resolution == (128 if cars else 512)


def test_pigan_has_its_published_size() -> None:
    recipe = read("pigan_celeba128")
    assert isinstance(recipe, PiGAN)
    generator = recipe.generator.build(Box.cube(0.12), rng())
    sines = mlp(3, *[256] * 8) + layer(256, 1) + mlp(256 + 3, 256, 3)
    assert count(generator) == mlp(256, 256, 256, 256, 2 * 9 * 256) + sines
    assert count(generator.mapping_head) == layer(256, 4608)  # the paper's (8 + 1) x 256 x 2
    with torch.device("meta"):
        judge = recipe.critic.build(rng())
    assert count(judge) == critic((400, 400, 400, 256, 128, 64), 3, 1)
    assert recipe.critic.resolution == 128


def test_graf_has_its_published_size() -> None:
    recipe = read("graf_carla128")
    assert isinstance(recipe, GRAF)
    position, direction = 3 + 3 * 2 * 10, 3 + 3 * 2 * 4
    told = position + 128
    trunk = mlp(told, *[256] * 5) + layer(256 + told, 256) + mlp(256, 256, 256)
    heads = layer(256, 1) + layer(256, 256) + mlp(256 + direction + 128, 128, 3)
    assert count(recipe.generator.build(Box.cube(1.0), rng())) == trunk + heads
    judge = recipe.critic.build(rng())
    pairs = [(3, 64), (64, 128), (128, 256), (256, 1)]
    assert count(judge) == sum(layer(16 * i, o) for i, o in pairs)
    assert recipe.critic.resolution == 32


@pytest.mark.parametrize("name", ["eg3d_ffhq512", "eg3d_shapenet_cars128"])
def test_full_size_pictures_fit_the_full_size_networks(name: str) -> None:
    """On the meta device, where only shapes are computed: codes to planes, features to pictures, pictures to scores."""
    recipe = read(name)
    assert isinstance(recipe, EG3D)
    with torch.device("meta"):
        generator, judge = Planes(recipe, Box.cube(0.5), rng()), recipe.critic.build(rng())
        codes = generator.codes(torch.zeros(4, 512), torch.zeros(4, 25) if generator.pose else None)
        assert codes.shape == (4, 14, 512)
        assert generator.scenes.planes(codes).shape == (4, 3, 32, 256, 256)
        assert generator.upsampler is not None
        raw = round(recipe.raw(0.0))
        finished = generator.upsampler(torch.zeros(4, raw, raw, 32), codes[:, -1])
        side = recipe.critic.resolution
        assert finished.shape == (4, side, side, 3)
        assert judge(dual(finished, torch.zeros(4, raw, raw, 3)), torch.zeros(4, 25)).shape == (4,)


def shrunk(recipe: Recipe) -> Recipe:
    """The same with few, small pictures and planes, and few samples."""
    if isinstance(recipe, EG3D):
        assert recipe.super_resolution is not None
        raw = 16 // 2 ** sum(recipe.super_resolution.doubled)
        return replace(
            recipe,
            generator=replace(recipe.generator, channels=recipe.generator.channels[:3]),
            critic=replace(recipe.critic, channels=recipe.critic.channels[:3]),
            super_resolution=replace(recipe.super_resolution, raw=raw),
            raw=Constant(float(raw)),
            batch=1,
            samples=4,
            fine=4,
        )
    if isinstance(recipe, PiGAN):
        assert recipe.reader is not None
        return replace(
            recipe,
            critic=replace(recipe.critic, channels=recipe.critic.channels[:3]),
            reader=replace(recipe.reader, channels=recipe.reader.channels[:3]),
            sizes=(4, 8, 16),
            batch=2,
            samples=4,
            fine=4,
        )
    return replace(recipe, batch=1, samples=4)


@pytest.fixture(scope="module")
def cars() -> Collection:
    """Pictures of 16 x 16."""
    large = render_collection("cars", 2, 3, 32)
    small = large.pictures.float().reshape(6, 16, 2, 16, 2, 4).mean((2, 4)).round().to(torch.uint8)
    return replace(large, pictures=small, cameras=large.cameras.scaled_to(16, 16))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_trains(name: str, cars: Collection) -> None:
    recipe = shrunk(read(name))
    task = AdversarialTask(recipe, cars, tight_box(cars), rng())
    before = [p.detach().clone() for p in task.maker.generator.parameters()]
    state = begin(task, rng(1), torch.optim.SGD)
    report = next(train(task, state, Budget(steps=1000), {}))
    smooth, place = ({"smooth"} if "eg3d" in name else set()), ({"read", "place"} if "pigan" in name else set())
    assert set(report.losses) == {"critic", "r1", "generator"} | smooth | place
    assert report.losses["critic"] > 0
    after = list(task.maker.generator.parameters())
    moved = [not torch.equal(a, b) for a, b in zip(after, before, strict=True)]
    still = [name for (name, _), m in zip(task.maker.generator.named_parameters(), moved, strict=True) if not m]
    assert all(bool(p.isfinite().all()) for p in task.parameters())
    assert still == []


def test_every_recipe_of_ours_can_be_read() -> None:
    assert set(PUBLISHED) <= set(recipes("gen"))
    assert read("eg3d") == EG3D()
    assert read("pigan") == PiGAN()
    assert read("graf") == GRAF()
    assert from_plain(DiffAE | EG3D, load_yaml(find_recipe("diffae", "gen")), "diffae") == DiffAE()


def test_published_schedules_are_those_of_their_steps() -> None:
    """What the papers say in steps or pictures, at some steps."""
    faces, sines, shapes = read("eg3d_ffhq512"), read("pigan_celeba128"), read("graf_carla128")
    assert isinstance(faces, EG3D)
    assert isinstance(sines, PiGAN)
    assert isinstance(shapes, GRAF)
    pictures = faces.batch * faces.steps
    assert pictures == 25_000_000
    assert faces.blur(100e3 / pictures) == pytest.approx(5.0)
    assert faces.swap(500e3 / pictures) == pytest.approx(0.75)
    assert faces.keep == pytest.approx(0.5 ** (faces.batch / 10e3), abs=1e-5)
    assert [sum(step / sines.steps >= at for at in sines.grow_at) for step in (9_999, 10_000, 55_000)] == [0, 1, 2]
    for step in (0, 20_000, 60_000, 150_000):
        assert sines.best(step / sines.steps) == pytest.approx(max(0.99 ** (step / 2000), 0.6), rel=2e-3)
    for step in (0, 50_000, 100_000, 184_000, 250_000):
        expected = min(max(0.25, 2.718281828 ** (-0.0025 * 3 * step / 1000)), 0.9)
        assert shapes.smallest(step / shapes.steps) == pytest.approx(expected, rel=5e-3)
    assert shapes.rate(200_000 / shapes.steps) == pytest.approx(5e-4 / 8, rel=1e-2)


def test_a_full_sized_recipe_of_sines_leaves_a_maker() -> None:
    maker = Makers(replace(read("pigan_celeba128"), samples=2, fine=2), Box.cube(0.12), rng())
    codes = maker.draw(1, rng(1), 0.7)
    assert codes.shape == (1, 2, 9, 256)
