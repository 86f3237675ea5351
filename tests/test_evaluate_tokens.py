"""What `nerf3d gen eval` says of tokens, on answers that are known."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from nerf3d.commands import evaluate_tokens as measure
from nerf3d.core import Box, Cameras, Radiance
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import render_collection
from nerf3d.models.codebook import Nearest
from nerf3d.models.token_transformer import Masked
from nerf3d.models.vq_autoencoder import VQAutoencoderConfig
from nerf3d.render.stratified import Stratified
from nerf3d.tasks.generate.recipe import VQAR, Looks
from nerf3d.tasks.generate.tokens import TokenObjects

SMALL = VQAR(
    VQAutoencoderConfig((8, 8, 8, 8), (2, 2, 2), 4, Nearest(entries=8), (8, 8), 4, 8),
    Masked(width=16, layers=1, heads=2, rounds=2),
    Looks(samples=8),
)


@pytest.fixture(scope="module")
def cars() -> Collection:
    return render_collection("cars", 3, 6, 32)


def maker(cars: Collection) -> TokenObjects:
    made = TokenObjects(SMALL, tight_box(cars), (), torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in made.autoencoder.codebook.buffers():
            if parameter.is_floating_point() and parameter.dim() == 2:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    return made


def test_entries_are_counted_once(cars: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    made = maker(cars)
    monkeypatch.setattr(made.autoencoder, "tokens", lambda pictures: torch.tensor([[3, 3, 5]]).expand(len(pictures), 3))
    monkeypatch.setattr(measure, "TOGETHER", 4)
    assert measure.used_share(made, cars) == 2 / 8


def test_what_is_kept_whole_loses_nothing(cars: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    made = maker(cars)
    halves = []

    def complete(codes: Tensor, keep: Tensor, rng: torch.Generator) -> Tensor:
        halves.append(keep.tolist())
        return codes

    monkeypatch.setattr(made, "complete", complete)
    assert measure._lost(made, cars, torch.Generator().manual_seed(0)) == 0
    assert halves[0] == [False, True] * 4  # along x, the far end
    assert halves[1] == [False, False, True, True] * 2  # along y
    assert halves[2] == [True, False] * 4  # along x, the near end


@dataclass(frozen=True)
class Halves:
    """A full box, of one grey where x is above 0 and of another below."""

    above: float
    below: float

    def density(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), 1e4)

    def __call__(self, x: Tensor, d: Tensor) -> Radiance:
        grey = torch.where(x[:, :1] > 0, self.above, self.below)
        return Radiance(self.density(x), grey.expand(-1, 3))


def test_only_the_given_half_counts(cars: Collection) -> None:
    """White pictures, seen along z: what is in the other half may be as it likes."""

    pose = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -4]])[None]
    cameras = Cameras.pinhole(pose, 16.0, 8, 8)
    white = torch.full((1, 8, 8, 4), 255, dtype=torch.uint8)
    one = Collection(white, cameras, torch.zeros(1, dtype=torch.int64), ("",), Box.cube(1.0), True, cars.attributes)
    fields = Halves(0.9, 0.5), Halves(0.8, 0.0)
    sampler = Stratified(Box.cube(1.0), 16)
    above = measure._errors(sampler, fields, one, 0, 0, 1, 0.0)
    below = measure._errors(sampler, fields, one, 0, 0, -1, 0.0)
    for found, before, after in ((above, 0.1, 0.2), (below, 0.5, 1.0)):
        count = float(found[2])
        assert count >= 8
        assert (found / count).tolist() == pytest.approx([3 * before**2, 3 * after**2, 1.0], rel=1e-3)
