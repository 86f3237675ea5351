from pathlib import Path

import pytest
import torch

from nerf3d.core.paths import standing
from nerf3d.data.world import distance as d
from nerf3d.data.world import solid as module
from nerf3d.data.world.captions import COLORS, PAIRED, Description, Thing, understand
from nerf3d.data.world.model import places, scheme, shape
from nerf3d.data.world.nouns import fitted, nouns
from nerf3d.data.world.solid import solid
from nerf3d.data.world.trace import trace

MESHES = ("cow", "teapot")
NAMES = [noun.name for noun in nouns()]
GRID = torch.stack(torch.meshgrid(*[torch.linspace(-1.1, 1.1, 45)] * 3, indexing="ij"), -1).reshape(-1, 3)
AROUND = standing(
    torch.arange(4) * 90.0 + 20, torch.tensor([0.0, 40, -10, 80]), torch.full((4,), 3.0), torch.full((4,), 40.0), 24
)


def test_the_list_of_nouns() -> None:
    assert len(NAMES) == len(set(NAMES)) == 40
    assert set(PAIRED) <= set(NAMES)
    assert {"cow", "car", "mug", "teapot", "house"} <= {noun.name for noun in nouns() if noun.has_front}
    assert all((noun.accent is None) == (noun.accent_shape is None) for noun in nouns())


# The meshes take a while to become distances; test_solid does it with a smaller one.
@pytest.mark.parametrize("name", [name for name in NAMES if name not in MESHES])
def test_a_noun_fills_its_ball_and_is_seen_from_all_around(name: str) -> None:
    parts = fitted(name)
    inside = GRID[d.union(*parts)(GRID) < 0]
    reach = inside.norm(dim=-1).amax()
    assert 0.6 < float(reach) < 0.83
    assert float(((inside.amin(0) + inside.amax(0)) / 2).abs().max()) < 0.08
    for i in range(len(AROUND)):
        surface = trace(parts, AROUND.rays(i))
        met = surface.part >= 0
        assert float(met.float().mean()) > 0.02, f"hardly to be seen from {i}"
        assert float(surface.position[met].norm(dim=-1).amax()) < 0.85
    if len(parts) > 1:
        body, accent = parts
        assert bool((accent(GRID) < torch.minimum(body(GRID), torch.tensor(0.02))).any()), "the accent is all inside"


def looks_different(name: str, one: float, other: float) -> float:
    """The share of pixels whose depth differs between two azimuths."""
    cameras = standing(torch.tensor([one, other]), torch.zeros(2), torch.full((2,), 3.0), torch.full((2,), 40.0), 48)
    depth = []
    for i in range(2):
        rays = cameras.rays(i)
        surface = trace(fitted(name), rays)
        depth.append(torch.where(surface.part >= 0, (surface.position - rays.origin).norm(dim=-1), 5.0))
    return float(((depth[0] - depth[1]).abs() > 0.05).float().mean())


@pytest.mark.parametrize("name", [n.name for n in nouns() if n.has_front and n.name not in (*MESHES, "mug")])
def test_what_has_a_front_has_another_back(name: str) -> None:
    assert looks_different(name, 0.0, 180.0) > 0.002


@pytest.mark.parametrize("name", ["sphere", "cone", "cylinder", "torus", "bottle", "goblet"])
def test_what_is_round_looks_alike_from_everywhere(name: str) -> None:
    assert looks_different(name, 0.0, 130.0) < 0.01


@pytest.mark.parametrize("relation", ["on top of", "next to"])
def test_pairs_stand_where_their_caption_says_within_the_ball(relation) -> None:
    for names in [("cube", "cylinder"), ("star", "torus"), ("torus", "cone")]:
        first, second = places(names, relation)
        inside = [GRID[d.union(*place.parts)(GRID) < 0.01] for place in (first, second)]
        assert max(float(x.norm(dim=-1).amax()) for x in inside) < 1.05
        axis = 2 if relation == "on top of" else 0
        above, below = (inside[0], inside[1]) if axis == 2 else (inside[1], inside[0])
        assert float(above[:, axis].mean()) > float(below[:, axis].mean()) + 0.3
        if relation == "on top of":  # they touch, and hardly more
            assert abs(float(above[:, 2].min()) - float(below[:, 2].max())) < 0.12


def test_shape_and_paint_have_the_same_parts() -> None:
    for text in ("a red chair with blue legs", "a red cube on top of a blue egg", "a striped pink house"):
        description = understand(text)
        assert description is not None
        assert len(shape(description)) == len(scheme(description))
    coats = scheme(Description(Thing("chair", "red", "plain", "blue")))
    assert [coat.color.tolist() for coat in coats] == [pytest.approx(COLORS[c]) for c in ("red", "blue")]


def test_a_mesh_becomes_a_distance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tall box of triangles without a lid, in a file with y up, becomes solid and stands along z."""
    monkeypatch.setattr(module, "RESOLUTION", 40)  # quick
    corners = [(x, y, z) for x in (-1, 1) for y in (-2, 2) for z in (-1, 1)]
    faces = ["1 2 4", "1 4 3", "5 7 8", "5 8 6", "1 5 6", "1 6 2", "1 3 7", "1 7 5", "2 6 8", "2 8 4"]
    faces += ["3 4 8", "3 8 7"]
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + [f"f {face}" for face in faces]
    file = tmp_path / "box.obj"
    file.write_text("\n".join(lines) + "\n")
    box = solid(file, ((1, 0, 0), (0, 0, -1), (0, 1, 0)))
    x = torch.tensor([[0.35, 0, 0], [0, 0, 0.9], [0.6, 0, 0], [0, 0.9, 0], [0, 0, 1.6]])
    found = box(x)
    # Longest side into [-1, 1]: half sides 0.5, 0.5, 1; the surface is moved out by a part of a cell.
    cell = 2.2 / 39
    expected = torch.tensor([-0.15, -0.1, 0.1, 0.4, 0.6]) - module.SHELL * cell
    near, far = slice(0, 3), slice(3, 5)
    assert float((found - expected)[near].abs().max()) < 0.02
    assert (found[far] < expected[far] + 0.02).all()  # far away a bound, from below
    assert (found[far] > expected[far] - 2 * cell).all()
