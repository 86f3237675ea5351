"""Two players: what each learns from, and what the running mean does."""

from dataclasses import replace

import pytest
import torch

from nerf3d.core import Task
from nerf3d.core.schedules import Constant
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import render_collection
from nerf3d.errors import InputError
from nerf3d.models.critic import CriticConfig
from nerf3d.models.generator import TriPlaneGeneratorConfig
from nerf3d.models.graf import GRAFGeneratorConfig, PatchCriticConfig
from nerf3d.models.picture_encoder import PictureEncoderConfig
from nerf3d.models.pigan import PiGANGeneratorConfig
from nerf3d.models.super_resolution import SuperResolutionConfig
from nerf3d.tasks.generate.adversarial import AdversarialTask, blurred, usual_pose
from nerf3d.tasks.generate.recipe import EG3D, GRAF, PiGAN
from nerf3d.tasks.generate.sights import softened

SMALL = EG3D(
    TriPlaneGeneratorConfig(
        z=4, w=8, channels=(8, 8), plane_features=4, decoder_width=8, color_channels=3, pose=0, noise=False
    ),
    CriticConfig(channels=(8, 8, 8, 8), picture_channels=4, condition=25),
    PictureEncoderConfig(channels=(8, 8, 8, 8), code=4),
    batch=4,
    samples=6,
    smooth_points=16,
    smooth_scenes=2,
)
TOLD = replace(
    SMALL,
    generator=replace(SMALL.generator, pose=25, color_channels=5),
    critic=CriticConfig(channels=(8, 8, 8, 8), picture_channels=6, condition=25),
    reader=None,
    samples=4,
    fine=3,
    super_resolution=SuperResolutionConfig(raw=8, channels=(6, 6)),
    raw=Constant(8.0),
    background="white",
    blur=Constant(1.0),
    swap=Constant(1.0),
)
SINES = PiGAN(
    PiGANGeneratorConfig(z=4, width=8, depth=2, mapping_width=8),
    CriticConfig(channels=(8, 8, 8, 8), picture_channels=4),
    PictureEncoderConfig(channels=(8, 8, 8, 8)),
    batch=4,
    samples=4,
    sizes=(8, 32),
    place=15.0,
)
SHAPES = GRAF(
    GRAFGeneratorConfig(shape=3, appearance=1, width=8, depth=2, color_width=4),
    PatchCriticConfig(channels=(8, 8), picture_channels=4),
    PictureEncoderConfig(channels=(8, 8, 8)),
    batch=4,
    samples=4,
)


@pytest.fixture(scope="module")
def cars() -> Collection:
    return render_collection("cars", 2, 4, 32)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def begun(cars: Collection, recipe: EG3D | PiGAN | GRAF = SMALL) -> AdversarialTask:
    return AdversarialTask(recipe, cars, tight_box(cars), rng())


GAMES = [
    (SMALL, {"generator", "read", "smooth"}),
    (TOLD, {"generator", "smooth"}),
    (SINES, {"generator", "read", "place"}),
    (SHAPES, {"generator", "read"}),
]


@pytest.mark.parametrize("progress", [0.0, 0.9])
@pytest.mark.parametrize(("recipe", "losses"), GAMES, ids=["EG3D", "raised", "PiGAN", "GRAF"])
def test_each_player_learns_from_its_own_losses(
    cars: Collection, progress: float, recipe: EG3D | PiGAN | GRAF, losses: set[str]
) -> None:
    task = begun(cars, recipe)
    assert isinstance(task, Task)
    players = {name: [p for g in groups for p in g.parameters] for name, groups in task.players().items()}
    assert not {id(p) for p in players["critic"]} & {id(p) for p in players["generator"]}
    kept = {id(p) for p in task.maker.average.parameters()}
    assert {id(p) for own in players.values() for p in own} | kept == {id(p) for p in task.parameters()}
    assert all(group.momentum == 0 for groups in task.players().values() for group in groups)
    learnt = {"critic": {"critic", "r1"}, "generator": losses}
    for update in task.step(0, progress, rng()):
        assert set(update.losses) == learnt.pop(update.player)
        task.zero_grad(set_to_none=True)
        torch.stack(list(update.losses.values())).sum().backward()
        own = players[update.player]
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in own)
        if update.player == "critic":
            assert all(p.grad is None for p in players["generator"])
        else:
            assert all(p.grad is None and p.requires_grad for p in players["critic"])
    assert not learnt


def test_r1_comes_every_few_steps(cars: Collection) -> None:
    task = begun(cars)
    assert "r1" not in next(iter(task.step(1, 0.0, rng()))).losses
    assert "r1" in next(iter(task.step(SMALL.r1_every, 0.0, rng()))).losses


def test_the_running_mean_follows(cars: Collection) -> None:
    task = begun(cars)
    now, mean = next(task.maker.generator.parameters()), next(task.maker.average.parameters())
    before = mean.clone()
    with torch.no_grad():
        now += 1
    task.maker.follow(0.75)
    assert torch.allclose(mean, before + 0.25)
    assert not mean.requires_grad


def test_blurred_pictures_keep_their_mean() -> None:
    pictures = torch.rand(2, 8, 8, 4, generator=rng())
    half = blurred(pictures, 2)
    assert half.shape == pictures.shape
    assert torch.allclose(half.mean((1, 2)), pictures.mean((1, 2)), atol=0.03)
    assert float(half.std()) < 0.7 * float(pictures.std())
    assert torch.equal(blurred(pictures, 1), pictures)


def test_a_generator_that_is_told_poses_is_told_those_of_others(cars: Collection) -> None:
    """With certainty each hears the pose of the one before it in the batch; the critic hears the true ones."""
    task = begun(cars, TOLD)
    heard: dict[str, torch.Tensor] = {}
    codes, score = task.maker.generator.codes, task.critic.forward

    def listen(z: torch.Tensor, pose: torch.Tensor | None = None) -> torch.Tensor:
        assert pose is not None
        heard["generator"] = pose
        return codes(z, pose)

    def judge(pictures: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        assert condition is not None
        heard["critic"] = condition
        return score(pictures, condition)

    task.maker.generator.codes = listen  # type: ignore[method-assign]
    task.critic.forward = judge  # type: ignore[method-assign]
    list(task.step(0, 0.0, rng(3)))
    assert not torch.equal(heard["generator"], heard["critic"])
    assert torch.equal(heard["generator"], heard["critic"].roll(1, 0))
    never = begun(cars, replace(TOLD, swap=Constant(0.0)))
    at = torch.tensor([3, 1, 4, 1])
    told = never.told(at, 0.0, rng())
    assert told is not None
    assert torch.equal(told, never.poses[at])
    assert begun(cars).told(at, 0.0, rng()) is None


def test_what_is_drawn_is_told_the_most_usual_pose(cars: Collection) -> None:
    task = begun(cars, TOLD)
    assert any(torch.equal(task.maker.pose, pose) for pose in task.poses)
    line = torch.arange(25.0) + torch.tensor([0.0, 1.0, 2.0, 3.0, 20.0])[:, None]
    assert torch.equal(usual_pose(line), line[3])  # the mean is 5.2
    with torch.no_grad():
        z = torch.randn(2, 4, generator=rng(1))
        expected = task.maker.average.codes(z, task.maker.pose.expand(2, -1))
        torch.testing.assert_close(task.maker.draw(2, rng(1)), expected)


def test_noise_on_poses_has_the_asked_share_of_their_deviation(cars: Collection) -> None:
    task = begun(cars, replace(SMALL, pose_noise=0.5))
    at = torch.zeros(4000, dtype=torch.int64)
    heard = task.heard(at, rng())
    assert heard is not None
    spread = task.poses.std(0, correction=0)
    moves = spread > 0
    assert 0 < int(moves.sum()) < 25  # the lens and the matrix's last row are everywhere the same
    off = heard - task.poses[0]
    torch.testing.assert_close(off.std(0)[moves], 0.5 * spread[moves], rtol=0.05, atol=0)
    assert bool((off.mean(0)[moves].abs() < 0.05 * spread[moves]).all())
    assert bool((off[:, ~moves] == 0).all())
    exact = begun(cars).heard(at, rng())
    assert exact is not None
    assert torch.equal(exact, task.poses[at])
    assert begun(cars, SINES).heard(at, rng()) is None


def test_r1_is_that_of_the_finished_and_of_the_raw_picture(cars: Collection) -> None:
    """A critic that sums what it sees, a times the picture and b times the raw one beside it: r1 is their two slopes."""
    task = begun(cars, replace(TOLD, blur=Constant(0.0)))
    a, b = 0.3, 0.2

    def judge(pictures: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return a * pictures[..., :3].sum((1, 2, 3)) + b * pictures[..., 3:].sum((1, 2, 3))

    task.critic.forward = judge  # type: ignore[method-assign]
    found = next(iter(task.step(0, 0.0, rng()))).losses["r1"]
    raw = 8 * 8 * 3 * (16 * b) ** 2  # each of its pixels is seen by sixteen others
    assert float(found.detach()) / (0.5 * TOLD.r1 * TOLD.r1_every) == pytest.approx(32 * 32 * 3 * a**2 + raw, rel=0.02)


def test_the_generator_learns_from_the_best_of_a_batch(cars: Collection) -> None:
    scores = torch.tensor([1.0, -2.0, 3.0, 0.5])
    for share, kept in ((1.0, scores), (0.6, scores[[0, 2, 3]]), (0.5, scores[[0, 2]]), (0.01, scores[[2]])):
        task = begun(cars, replace(SINES, best=Constant(share), reader=None))
        task.critic.forward = lambda pictures, condition=None: scores + 0 * pictures.sum()  # type: ignore
        updates = list(task.step(1, 0.0, rng()))
        expected = torch.nn.functional.softplus(-kept).mean()
        torch.testing.assert_close(updates[1].losses["generator"], expected)


def test_densities_tremble_less_and_less(cars: Collection) -> None:
    task = begun(cars, SINES)
    asked: list[float] = []
    fields = task.maker.generator.fields

    def listen(codes: torch.Tensor, rng: torch.Generator | None = None, noise: float = 0.0) -> list:
        asked.append(noise)
        return fields(codes, rng, noise)

    task.maker.generator.fields = listen  # type: ignore[method-assign]
    for progress in (0.0, 0.05, 0.2):
        next(iter(task.step(1, progress, rng())))
    assert asked == pytest.approx([1.0, 0.5, 0.0])


def test_smoothness_comes_every_few_steps(cars: Collection) -> None:
    task = begun(cars, replace(SMALL, smooth_every=4))
    each, every = (list(t.step(4, 0.0, rng(2)))[1].losses["smooth"] for t in (begun(cars), task))
    torch.testing.assert_close(every, 4 * each)
    assert "smooth" not in list(task.step(5, 0.0, rng()))[1].losses
    assert "smooth" not in list(begun(cars, replace(SMALL, smooth=0.0)).step(4, 0.0, rng()))[1].losses


def test_the_critic_sees_pictures_through_a_bell(cars: Collection) -> None:
    def first_look(blur: float) -> torch.Tensor:
        task = begun(cars, replace(SMALL, blur=Constant(blur)))
        looks: list[torch.Tensor] = []
        score = task.critic.forward

        def judge(pictures: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
            looks.append(pictures)
            return score(pictures, condition)

        task.critic.forward = judge  # type: ignore[method-assign]
        list(task.step(1, 0.9, rng()))
        assert len(looks) == 3  # real and made ones by itself, made ones for the generator
        assert torch.equal(looks[1], looks[2])
        return looks[0]

    torch.testing.assert_close(first_look(2.0), softened(first_look(0.0), 2.0))


def test_the_reader_is_asked_for_the_code_and_the_cameras_direction(cars: Collection) -> None:
    task = begun(cars, SINES)
    assert task.reader is not None
    assert task.reader.config.code == 4 + 3
    cameras, z = cars.cameras[torch.tensor([0, 5])], torch.randn(2, 4, generator=rng())
    right = torch.cat([z, cameras.forward], 1)
    task.reader.forward = lambda pictures: right + 0 * pictures.sum()  # type: ignore[method-assign]
    found = task._read(torch.zeros(2, 32, 32, 4), z, cameras)
    assert {name: float(loss) for name, loss in found.items()} == {"read": 0.0, "place": 0.0}
    found = task._read(
        torch.zeros(2, 32, 32, 4), z + 2.0, replace(cameras, world_from_camera=-cameras.world_from_camera)
    )
    assert float(found["read"]) == pytest.approx(4.0)
    assert float(found["place"]) == pytest.approx(15 * 4 / 3)  # two opposite directions are two apart


def test_the_usual_code_follows_in_training(cars: Collection) -> None:
    for recipe in (SMALL, SINES):
        task = begun(cars, recipe)
        list(task.step(1, 0.0, rng()))
        assert float(task.maker.generator.usual().abs().max()) > 0


def test_kinds_are_told_and_can_be_asked_for(cars: Collection) -> None:
    """Kinds reach generator and critic beside the pose; where none is asked for they are as frequent as they were."""
    captions = ("a car", "a blue car")
    named = replace(cars, captions=captions)
    task = begun(named, replace(SMALL, kinds=True))
    maker = task.maker
    assert maker.kinds == ("a blue car", "a car")
    assert task.critic.config.condition == SMALL.critic.condition + 2
    at = torch.tensor([int((named.scene == 1).nonzero()[0]), int((named.scene == 0).nonzero()[0])])
    told_of = task.told(at, 0.0, rng())
    assert told_of is not None
    assert told_of[:, -2:].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    heard = task.heard(at, rng())
    assert heard is not None
    assert torch.equal(heard[:, -2:], told_of[:, -2:])
    assert sum(len(update.losses) for update in task.step(0, 0.0, rng())) > 2
    one, other, again = (maker.draw(3, rng(1), kind=kind) for kind in ("a car", "a blue car", "a car"))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)
    with pytest.raises(InputError, match="knows no 'a boat'"):
        maker.draw(1, rng(), kind="a boat")
    assert begun(replace(cars, captions=("", "a car")), replace(SMALL, kinds=True)).maker.shares.tolist() == [0.5, 0.5]
    assert begun(named).maker.kinds == ()
