import json
from dataclasses import replace

import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.export.asset import Asset, vertex_normals
from nerf3d.export.frame import Frame, length, put

CORNERS = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 3.0], [1.0, 6.0, 3.0], [1.0, 2.0, 7.0]])
FACES = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
ASSET = Asset(CORNERS, FACES, vertex_normals(CORNERS, FACES))


def back(asset: Asset) -> torch.Tensor:
    """The vertices in the world again, by what the file says of itself."""
    matrix = torch.tensor(json.loads(asset.facts["asset_from_world"]), dtype=torch.float64)
    local = torch.cat([asset.vertices.double(), torch.ones(len(asset.vertices), 1, dtype=torch.float64)], 1)
    return (local @ torch.linalg.inv(matrix).T)[:, :3].float()


def test_a_capture_keeps_its_numbers() -> None:
    for suffix in (".glb", ".ply"):
        same = put(ASSET, Frame(), suffix)
        assert torch.equal(same.vertices, CORNERS)
        assert same.up == (0.0, 0.0, 1.0)
    assert torch.equal(put(ASSET, Frame(up="z"), ".obj").vertices, CORNERS)


def test_a_generated_object_stands_on_the_ground_in_the_middle_one_unit_tall() -> None:
    placed = put(ASSET, Frame("base", one_tall=True), ".glb")
    low, high = placed.vertices.amin(0), placed.vertices.amax(0)
    assert torch.allclose(low, torch.tensor([-0.25, -0.5, 0.0]))
    assert torch.allclose(high, torch.tensor([0.25, 0.5, 1.0]))
    assert torch.allclose(back(placed), CORNERS, atol=1e-5)
    half = put(ASSET, Frame("center", metres=0.3, one_tall=True), ".glb").vertices
    assert torch.allclose(half.amin(0) + half.amax(0), torch.zeros(3), atol=1e-6)
    assert float(half[:, 2].amax() - half[:, 2].amin()) == pytest.approx(0.3)


@pytest.mark.parametrize("up", [(0.0, 0.0, 1.0), (0.0, 0.6, 0.8), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, -1.0, 0.0)])
@pytest.mark.parametrize(
    ("suffix", "axis", "index"), [(".obj", None, 1), (".obj", "z", 2), (".ply", "y", 1), (".usdz", None, 1)]
)
def test_up_is_up(up: tuple[float, float, float], suffix: str, axis, index: int) -> None:
    asset = replace(ASSET, up=up)
    placed = put(asset, Frame("base", up=axis), suffix)
    expected = torch.zeros(3)
    expected[index] = 1
    assert torch.allclose(torch.tensor(placed.up), expected, atol=1e-6)
    along = CORNERS @ torch.tensor(up)
    assert torch.allclose(placed.vertices[:, index], along - along.min(), atol=1e-5)
    edges = [torch.cdist(x, x) for x in (placed.vertices, CORNERS)]
    assert torch.allclose(*edges, atol=1e-5)
    assert torch.allclose(placed.normals, vertex_normals(placed.vertices, FACES), atol=1e-5)  # a rotation, no mirror
    assert torch.allclose(back(placed), CORNERS, atol=1e-5)


def test_printers_get_millimetres() -> None:
    printed = put(ASSET, Frame("base", metres=0.08, one_tall=True), ".stl")
    assert float(printed.vertices[:, 2].max()) == pytest.approx(80)
    assert printed.facts["units"] == "millimetres"
    assert torch.allclose(back(printed), CORNERS, atol=1e-5)
    assert torch.equal(put(ASSET, Frame(), ".stl").vertices, CORNERS)


def test_a_glb_cannot_be_z_up() -> None:
    with pytest.raises(InputError, match=r"\.glb is Y up"):
        put(ASSET, Frame(up="z"), ".glb")


def test_lengths() -> None:
    assert [length(t) for t in ("1m", "30cm", "2.5 mm", "1in")] == pytest.approx([1.0, 0.3, 0.0025, 0.0254])
    for text in ("", "m", "-1m", "0m", "3 parsec", "1e400m x", "inf m"):
        with pytest.raises(InputError, match="is no length"):
            length(text)
