"""The story of a talking head, a step at a time: what learns from what, and how many pixels are looked at."""

from dataclasses import replace

import pytest
import talker
import torch

from nerf3d.config import find_recipe, read_recipe
from nerf3d.core import Task, Update, Weighed
from nerf3d.core.schedules import Constant
from nerf3d.data.portrait.folder import read_portrait
from nerf3d.data.portrait.footage import Footage
from nerf3d.data.portrait.likeness import Likeness
from nerf3d.models.adnerf import ADNeRFConfig
from nerf3d.models.head import HeadConfig
from nerf3d.models.sound_encoder import neighbours
from nerf3d.tasks.avatar import Avatar, AvatarTask, pixels
from nerf3d.tasks.avatar import task as story
from nerf3d.tasks.avatar.task import Film, Pace

LOSSES = {"head", "whole", "mouth", "ambient", "compact"}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Likeness, Film]:
    folder = talker.write(tmp_path_factory.mktemp("talker") / "data", 44)
    likeness, footage = talker.known(folder)
    windows = read_portrait(folder).windows(likeness.shots)
    return likeness, Film(footage, neighbours(windows, torch.arange(len(windows))))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recipe() -> Avatar:
    return read_recipe(Avatar, find_recipe("ernerf", "avatar"), talker.SMALL)


def begun(known: tuple[Likeness, Film], made: Avatar | None = None) -> AvatarTask:
    return AvatarTask(made or recipe(), *known, rng())


def stepped(task: AvatarTask, step: int = 0, progress: float = 0.0, seed: int = 0) -> Update:
    (update,) = task.step(step, progress, rng(seed))
    return update


def test_it_is_a_task_whose_groups_are_all_that_learns_once_each(known: tuple[Likeness, Film]) -> None:
    task = begun(known)
    assert isinstance(task, Task)
    (groups,) = task.players().values()
    grouped = [id(p) for group in groups for p in group.parameters]
    assert sorted(grouped) == sorted({id(p) for p in task.parameters()})
    grids, _, sound = groups
    assert [g.rate for g in groups] == [task.recipe.rate, task.recipe.network_rate, task.recipe.sound_rate]
    head = task.scenery.head
    assert {id(head.table), *(id(g) for g in task.scenery.torso.grids)} == {id(p) for p in grids.parameters}
    assert {id(p) for p in sound.parameters} == {
        id(p) for m in (head.sound_encoder, task.scenery.guess) for p in m.parameters()
    }


@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_losses_are_finite_and_everything_learns_from_them(known: tuple[Likeness, Film], progress: float) -> None:
    made = recipe()
    task = begun(known, replace(made, weights=replace(made.weights, compact=Constant(0.01))))
    with (
        torch.no_grad()
    ):  # a beginning in which the sound reaches the picture, so that its gradient is no rounding error
        task.scenery.head.table.add_(torch.randn(task.scenery.head.table.shape, generator=rng(1)))
    for grid in task.scenery.torso.grids:
        grid.data.add_(torch.randn(grid.shape, generator=rng(2)))
    task.pace.share.fill_(1.0)
    update = stepped(task, progress=progress)
    assert set(update.losses) == LOSSES | ({"structure"} if progress else set())
    assert {n for n, loss in update.losses.items() if not (bool(loss.isfinite()) and float(loss.detach()) > 0)} == set()
    torch.stack(list(update.losses.values())).sum().backward()
    (groups,) = task.players().values()
    for group in groups:
        for parameter in group.parameters:
            assert parameter.grad is not None
            assert bool(parameter.grad.isfinite().all())
            assert float(parameter.grad.abs().max()) > 0


def gradient(task: AvatarTask, name: str) -> dict[str, float]:
    """How large the gradient of one loss is in the parts."""
    task.zero_grad()
    task.pace.share.fill_(1.0)  # few rays may all miss what a loss looks at
    stepped(task).losses[name].backward()
    parts = {
        "sound": task.scenery.head.sound_encoder.parameters(),
        "head": [task.scenery.head.table, *task.scenery.head.networks()],
        "torso": task.scenery.torso.parameters(),
        "guess": task.scenery.guess.parameters(),
    }
    return {
        part: max((float(p.grad.abs().max()) for p in own if p.grad is not None), default=0.0)
        for part, own in parts.items()
    }


def test_what_teaches_what(known: tuple[Likeness, Film]) -> None:
    task = begun(known)
    taught = {
        name: {part for part, size in gradient(task, name).items() if size > 0} for name in sorted(LOSSES - {"compact"})
    }
    assert taught["head"] >= {"head", "sound"}
    assert "torso" not in taught["head"]
    assert taught["whole"] == {"torso"}
    assert taught["mouth"] == {"sound", "guess"}
    assert taught["ambient"] == {"head"}


def test_a_loss_of_weight_0_is_not_computed(known: tuple[Likeness, Film]) -> None:
    made = recipe()
    without = replace(made, weights=replace(made.weights, ambient=0.0, structure=0.0))
    assert set(stepped(begun(known, without), progress=0.9).losses) == LOSSES - {"ambient"}


def test_frames_whose_mouth_and_eyes_are_not_known(known: tuple[Likeness, Film]) -> None:
    """As in other tools' data: no boxes, no eyes, no mouth."""
    likeness, film = known
    none = torch.zeros_like(likeness.shots.face)
    shots = replace(
        likeness.shots,
        eye=torch.full_like(likeness.shots.eye, torch.nan),
        mouth=torch.full_like(likeness.shots.mouth, torch.nan),
        face=none,
        lips=none,
    )
    made = recipe()
    assert isinstance(made.head, HeadConfig)
    task = begun((replace(likeness, shots=shots), film), replace(made, head=replace(made.head, mouth=0)))
    assert float(task.condition(3).eye) == 1.0
    update = stepped(task, progress=0.9)
    assert float(update.losses["mouth"].detach()) == 0
    assert all(bool(loss.isfinite()) for loss in update.losses.values())


def test_the_perfect_picture_costs_nothing(known: tuple[Likeness, Film], monkeypatch: pytest.MonkeyPatch) -> None:
    """A renderer that shows the film's own head, premultiplied."""
    task, real = begun(known), story.render
    drawn = []
    draw = task._draw
    monkeypatch.setattr(task, "_draw", lambda *a: drawn.append(draw(*a)) or drawn[-1])

    def rendered(*arguments: object, **named: object) -> object:
        batch = drawn[-1]
        alone = batch.before(torch.zeros_like(batch.pixel), batch.head)
        return replace(real(*arguments, **named), color=alone, opacity=batch.head[:, 0])  # type: ignore[arg-type]

    monkeypatch.setattr(story, "render", rendered)
    assert float(stepped(task).losses["head"].detach()) == pytest.approx(0, abs=1e-9)


def test_the_pace_follows_the_budget_of_samples(known: tuple[Likeness, Film]) -> None:
    pace = Pace()
    assert float(pace.share) == pytest.approx(0.1)
    for step in range(5):  # each ray has 50 samples: 1000 rays in all would have 50,000
        pace.follow(round(1000 * float(pace.share) * 50), 10_000, step)
    assert float(pace.share) == pytest.approx(0.2, rel=0.01)
    before = float(pace.share)
    pace.follow(round(1000 * before * 100), 10_000, 500)  # twice as many samples: later it is slow to believe that
    assert float(pace.share) == pytest.approx(before - 0.1 * before / 2, rel=0.01)
    pace.follow(0, 10_000, 0)
    assert float(pace.share) == 1.0
    pace.follow(10**9, 10_000, 0)
    assert float(pace.share) == pytest.approx(0.02)


def test_a_step_has_about_as_many_samples_as_it_should(known: tuple[Likeness, Film]) -> None:
    made = recipe()
    task = begun(known, replace(made, rays=replace(made.rays, count=4000)))
    figures = [stepped(task, step, seed=step).figures for step in range(8)]
    assert figures[-1]["samples"] == pytest.approx(made.rays.samples, rel=0.5)
    assert figures[-1]["rays"] == pytest.approx(4000 * float(task.pace.share), rel=0.5)


def places(batch: story.Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns and rows of a batch's pixels."""
    x, y = (((batch.place + 1) * talker.SIZE - 1) / 2).round().long().unbind(-1)
    return x, y


def test_pixels_are_where_the_recipe_wants_them(known: tuple[Likeness, Film]) -> None:
    made = recipe()
    task = begun(known, replace(made, rays=replace(made.rays, count=1000, lips=0.5, anywhere=0.1)))
    task.pace.share.fill_(1.0)
    shots, whole = known[0].shots, torch.tensor([0, 0, talker.SIZE, talker.SIZE])
    x, y = places(task._draw(5, False, rng()))
    assert len(x) == 1000
    assert int(torch.minimum(x, y).min()) >= 0
    assert int(torch.maximum(x, y).max()) < talker.SIZE
    surroundings = pixels.grown(shots.face[5], whole, story.AROUND)
    lips, face = (pixels.inside(box, x, y) for box in (shots.lips[5], surroundings))
    assert bool(lips[:500].all())
    assert bool(face[500:900].all())
    assert not bool(face[900:].all())
    # Polishing, the first are a whole square, and there are not fewer pixels elsewhere.
    batch = task._draw(5, True, rng())
    x, y = places(batch)
    side = made.rays.patch
    assert (len(x), batch.patch) == (1000, side)
    assert torch.equal(x[:side], x[0] + torch.arange(side))
    assert torch.equal(y[: side * side : side], y[0] + torch.arange(side))
    assert bool(pixels.inside(surroundings, x[side * side : 900], y[side * side : 900]).all())


def test_the_sound_may_move_lips_and_chin_but_nothing_elsewhere(known: tuple[Likeness, Film]) -> None:
    task = begun(known)
    task.pace.share.fill_(1.0)
    batch = task._draw(5, False, rng())
    x, y = places(batch)
    lips = known[0].shots.lips[5]
    assert not bool(batch.elsewhere[pixels.inside(lips, x, y)].any())
    assert bool(batch.elsewhere[(y < lips[1] - lips[3]) | (x < lips[0] - lips[2])].all())


def test_occupied_is_only_what_lies_in_the_hull(known: tuple[Likeness, Film]) -> None:
    task = begun(known)
    hull, sampler = task.scenery.hull, task.scenery.sampler
    assert 0 < float(hull.float().mean()) < 1
    assert int((sampler.clear == 0).sum()) == sampler.clear.numel()  # before the first step
    stepped(task)
    occupied = sampler.clear == 0
    assert bool(occupied.any())
    assert not bool((occupied & ~hull).any())


def test_the_same_chance_gives_the_same_step(known: tuple[Likeness, Film]) -> None:
    first, again, other = (stepped(begun(known), seed=seed) for seed in (3, 3, 4))
    for name in LOSSES:
        assert torch.equal(first.losses[name], again.losses[name])
    assert not torch.equal(first.losses["head"], other.losses["head"])
    assert first.figures == again.figures


def test_sound_that_is_heard_is_the_frame_s(known: tuple[Likeness, Film]) -> None:
    task = begun(known)
    codes = [task.condition(frame).sound.detach() for frame in (10, 11, 30)]
    expected = task.scenery.head.sound_encoder(task.film.sound[[10, 11, 30]]).detach()
    torch.testing.assert_close(torch.stack(codes), expected)
    assert float((codes[0] - codes[2]).abs().max()) > 0


def test_ad_nerf_s_network_is_a_head_too(known: tuple[Likeness, Film]) -> None:
    """It has no grid and no attention, so that nothing is said of what arrives elsewhere."""
    small = ADNeRFConfig(code=6, width=16, depth=3, skip=1, position_octaves=3, direction_octaves=2, color_width=8)
    made = recipe()
    task = begun(known, replace(made, head=small, rays=replace(made.rays, samples=1024, count=128)))
    update = stepped(task, progress=0.9)
    assert set(update.losses) == (LOSSES | {"structure"}) - {"ambient"}
    torch.stack(list(update.losses.values())).sum().backward()
    (groups,) = task.players().values()
    grids, networks, sound = groups
    assert {id(p) for p in grids.parameters} == {id(p) for p in task.scenery.torso.grids}
    for group in (networks, sound):
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in group.parameters)
    likeness, pose = known[0], known[0].shots.camera_to_head[0]
    with torch.no_grad():
        picture = task.scenery.picture(pose, torch.zeros(6), torch.tensor(1.0))
    assert picture.shape == (likeness.side, likeness.side, 3)


def test_the_film_is_not_part_of_the_state(known: tuple[Likeness, Film]) -> None:
    task = begun(known)
    assert isinstance(task.film.footage, Footage)
    assert set(task.state_dict()) == {f"scenery.{name}" for name in task.scenery.state_dict()} | {"pace.share"}


def test_the_film_s_own_pixels_are_what_is_learnt_from(known: tuple[Likeness, Film]) -> None:
    batch = begun(known)._draw(7, False, rng())
    x, y = places(batch)
    footage = known[1].footage
    assert torch.equal((255 * batch.pixel).round().byte(), footage.images[7][y, x])
    assert torch.equal((255 * batch.head[:, 0]).round().byte(), footage.head[7][y, x])
    torch.testing.assert_close(batch.plate, talker.plate()[y, x], atol=0.003, rtol=0)
    likeness = known[0]
    rays = likeness.cameras(likeness.shots.camera_to_head[7:8]).rays(0)[y * talker.SIZE + x]
    torch.testing.assert_close(batch.rays.direction, rays.direction)
    torch.testing.assert_close(batch.rays.origin, rays.origin)


def test_a_blink_takes_rays_of_the_face_and_none_beyond_the_frame(known: tuple[Likeness, Film]) -> None:
    """A face whose box leaves the frame, as other tools write them."""
    likeness, film = known
    eye, face = torch.ones_like(likeness.shots.eye), likeness.shots.face.clone()
    eye[3] = 0.1
    size = likeness.shots.face.new_tensor([film.footage.images.shape[2], film.footage.images.shape[1]])
    face[3] = torch.cat([size // 2, size])
    task = begun((replace(likeness, shots=replace(likeness.shots, eye=eye, face=face)), film))
    task.pace.share.fill_(1.0)
    count = task.recipe.rays.count
    blink, other = task._draw(3, False, rng()), task._draw(4, False, rng())
    assert len(blink.rays) == len(other.rays) == count
    box = pixels.eyes(face[3], torch.cat([torch.zeros_like(size), size]))
    x, y = (0.5 * (blink.place + 1) * size).unbind(-1)
    on_eyes = pixels.inside(box, x.long(), y.long()).float().mean()
    assert float(on_eyes) > 0.5 * story.LOOK * (1 - task.recipe.rays.lips - task.recipe.rays.anywhere)


def test_half_the_samples_are_half_the_rays_at_once(known: tuple[Likeness, Film]) -> None:
    task = begun(known)
    assert isinstance(task, Weighed)
    before, share = task.step_bytes(torch.Generator()), float(task.pace.share)
    assert (task.budget(), task.halve()) == ("rays.samples=2048", False)
    task = begun(known, replace(recipe(), rays=replace(recipe().rays, samples=40000)))
    assert (task.budget(), task.halve(), task.budget()) == ("rays.samples=40000", True, "rays.samples=20000")
    assert float(task.pace.share) == share / 2
    assert task.step_bytes(torch.Generator()) > before
