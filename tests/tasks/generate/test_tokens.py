"""The story of a collection by tokens, a step at a time, and whether it learns a collection of four cars."""

from dataclasses import replace

import pytest
import torch

from nerf3d.core import Task, Update
from nerf3d.core.schedules import Constant
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import render_collection
from nerf3d.errors import InputError
from nerf3d.models.codebook import Gumbel, Nearest
from nerf3d.models.token_transformer import Masked, Raster
from nerf3d.models.vq_autoencoder import VQAutoencoderConfig
from nerf3d.plain import from_plain, to_plain
from nerf3d.tasks.generate.kinds import told
from nerf3d.tasks.generate.maker import GenerateTask, Maker
from nerf3d.tasks.generate.recipe import VQAR, Looks
from nerf3d.tasks.generate.tokens import TokenObjects, TokenTask

SMALL = VQAR(
    VQAutoencoderConfig(
        encoder_channels=(16, 16, 16, 16),
        grid=(2, 2, 2),
        latent=6,
        codebook=Nearest(entries=16),
        channels=(16, 16, 16),
        plane_features=6,
        decoder_width=16,
    ),
    Masked(width=16, layers=1, heads=2, rounds=4),
    Looks(objects=4, views=2, rays=64, samples=10),
    batch=8,
    rate=Constant(5e-3),
)


@pytest.fixture(scope="module")
def cars() -> Collection:
    return render_collection("cars", 4, 6, 32)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def begun(cars: Collection, recipe: VQAR = SMALL, seed: int = 0) -> TokenTask:
    return TokenTask(recipe, cars, tight_box(cars), rng(seed))


def stepped(task: TokenTask, progress: float = 0.0, seed: int = 0) -> Update:
    (update,) = task.step(0, progress, rng(seed))
    return update


GUMBEL = replace(SMALL, model=replace(SMALL.model, codebook=Gumbel(entries=16)), transformer=Raster(16, 1, 2))


@pytest.mark.parametrize("recipe", [SMALL, GUMBEL])
def test_first_the_autoencoder_learns_and_then_the_transformer(cars: Collection, recipe: VQAR) -> None:
    task = begun(cars, recipe)
    assert isinstance(task, Task)
    assert isinstance(task, GenerateTask)
    players = {name: [p for g in groups for p in g.parameters] for name, groups in task.players().items()}
    assert sorted(id(p) for own in players.values() for p in own) == sorted(id(p) for p in task.parameters())
    first = stepped(task)
    assert (first.player, set(first.losses)) == ("autoencoder", {"color", "opacity", "codebook"})
    assert set(first.figures) == {"psnr", "used", "perplexity"}
    torch.stack(list(first.losses.values())).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in players["autoencoder"])
    assert all(p.grad is None for p in players["transformer"])
    task.zero_grad(set_to_none=True)
    entries = task.maker.autoencoder.codebook.entries.clone()
    second = stepped(task, progress=0.9)
    assert (second.player, set(second.losses)) == ("transformer", {"tokens"})
    second.losses["tokens"].backward()
    assert all(p.grad is None for p in players["autoencoder"])
    assert torch.equal(task.maker.autoencoder.codebook.entries, entries)
    assert task.tokens.shape == (24, 8)
    assert second.figures["used"] == len(task.tokens.unique()) / 16


@pytest.mark.parametrize("recipe", [SMALL, GUMBEL])
def test_it_learns_four_cars(cars: Collection, recipe: VQAR) -> None:
    task = begun(cars, recipe)
    optimizer = torch.optim.Adam(task.maker.autoencoder.parameters(), 5e-3)
    chance, found = rng(1), []
    for step in range(40):
        (update,) = task.step(step, 0.7 * step / 40, chance)
        optimizer.zero_grad()
        torch.stack(list(update.losses.values())).sum().backward()
        optimizer.step()
        found.append(update.figures)
    assert sum(f["psnr"] for f in found[-5:]) > sum(f["psnr"] for f in found[:5]) + 5 * 3
    assert found[-1]["used"] > 0.6


def all_of_tokens(codes: torch.Tensor, maker: TokenObjects) -> torch.Tensor:
    """Whether each vector is a token's in its place, to the last bit."""
    return (codes == maker.autoencoder.latents(maker.autoencoder.nearest(codes))).all(-1)


@torch.no_grad()
def test_the_maker_draws_reads_and_completes(cars: Collection) -> None:
    task = begun(cars)
    stepped(task)
    maker = task.maker
    assert isinstance(maker, Maker)
    drawn = maker.draw(5, rng(1))
    assert drawn.shape == (5, 8, 6)
    shown = task.gallery.pictures(torch.arange(3))
    read = maker.read(shown)
    assert torch.equal(read, maker.autoencoder.latents(task.read_all()[:3]))
    assert bool(all_of_tokens(drawn, maker).all())
    assert len(maker.fields(drawn)) == 5
    low = maker.places[:, 2] < float(tight_box(cars).center[2])
    assert low.tolist() == [True] * 4 + [False] * 4
    odd = read + 0.01  # mixed and optimised codes are no entries
    completed = maker.complete(odd, low, rng(2))
    assert torch.equal(completed[:, low], odd[:, low])
    assert not torch.equal(completed, maker.complete(odd, low, rng(3)))
    each = torch.stack([low, ~low, low | True])
    completed = maker.complete(read, each, rng(2))
    assert torch.equal(completed[each], read[each])
    assert torch.equal(completed[2], read[2])
    with pytest.raises(InputError, match="mask is for 7 tokens, but each code has 8"):
        maker.complete(read, low[:7], rng())


def test_gradients_flow_into_codes(cars: Collection) -> None:
    maker = begun(cars).maker
    codes = maker.read(torch.rand(1, 32, 32, 4, generator=rng())).detach().requires_grad_()
    maker.fields(codes)[0].density(torch.zeros(4, 3)).sum().backward()
    assert codes.grad is not None
    assert bool((codes.grad.abs().sum(-1) > 0).all())


def test_kinds_are_captions_and_unknown_ones_are_none(cars: Collection) -> None:
    maker = begun(replace(cars, captions=("a red car", "", "a blue car", "a red car"))).maker
    assert maker.kinds == ("a blue car", "a red car")
    assert maker.shares.tolist() == [0.25, 0.5, 0.25]
    rows = told(torch.tensor([1, 2, 0]), maker.kinds)
    assert rows is not None
    assert rows[[0, 2]].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert bool(rows[1].isnan().all())
    assert maker.draw(2, rng(), kind="a red car").shape == (2, 8, 6)
    with pytest.raises(InputError, match="knows no 'a mug'"):
        maker.draw(2, rng(), kind="a mug")
    nameless = begun(replace(cars, captions=("",) * 4)).maker
    assert told(torch.tensor([0]), nameless.kinds) is None
    assert nameless.draw(2, rng()).shape == (2, 8, 6)
    with pytest.raises(InputError, match="leave the kind away"):
        nameless.draw(2, rng(), kind="a red car")


def test_kinds_are_drawn_as_they_were_taught(cars: Collection) -> None:
    """Two kinds with tokens of their own: who asks for one gets no token of the other, who asks for none gets both."""
    task = begun(replace(cars, captions=("a red car", "a red car", "a red car", "a blue car")))
    stepped(task)
    task.tokens = torch.where(cars.scene < 3, 3, 5)[:, None].expand(-1, 8).contiguous()
    optimizer, chance = torch.optim.Adam(task.maker.transformer.parameters(), 1e-2), rng(1)
    for step in range(60):
        (update,) = task.step(step, 0.9, chance)
        optimizer.zero_grad()
        update.losses["tokens"].backward()
        optimizer.step()
    assert update.figures == {"used": 2 / 16, "perplexity": pytest.approx(0.75**-0.75 * 0.25**-0.25)}
    for kind, red in (("a red car", 1.0), ("a blue car", 0.0), (None, 0.75)):
        drawn = task.maker.autoencoder.nearest(task.maker.draw(200, rng(2), kind=kind))
        assert float((drawn == 3).float().mean()) == pytest.approx(red, abs=0.1)
        assert float((drawn == 5).float().mean()) == pytest.approx(1 - red, abs=0.1)
        assert float((drawn == drawn[:, :1]).all(1).float().mean()) > 0.7


def test_a_state_says_all_and_tokens_are_read_anew(cars: Collection) -> None:
    task, other = begun(cars), begun(cars, seed=1)
    stepped(task)
    before = stepped(task, progress=0.9)
    other.load_state_dict(task.state_dict())
    again = stepped(other, progress=0.9)
    assert torch.equal(task.tokens, other.tokens)
    assert torch.equal(before.losses["tokens"], again.losses["tokens"])


def test_the_recipe_is_plain_data() -> None:
    data = {
        "model": {"codebook": {"kind": "Gumbel", "entries": 64}, "grid": [2, 4, 2]},
        "transformer": {"kind": "Raster"},
    }
    recipe = from_plain(VQAR, data, "a test")
    assert recipe.model.codebook == Gumbel(entries=64)
    assert (recipe.model.tokens, recipe.transformer) == (16, Raster())
    assert from_plain(VQAR, to_plain(recipe), "a test") == recipe
