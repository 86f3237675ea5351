import torch
from crate import crate

from nerf3d.export.weld import welded


def test_a_crate_has_eight_corners_and_its_triangles_stay_where_they_are():
    asset = crate()
    places, faces = welded(asset.vertices, asset.faces)
    assert places.shape == (8, 3)
    assert torch.equal(places[faces], asset.vertices[asset.faces])
    assert torch.equal(places[:4], asset.vertices[:4])  # in the order of their first appearance


def test_where_nothing_is_twice_nothing_changes():
    vertices = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    faces = torch.randint(0, 50, (80, 3), generator=torch.Generator().manual_seed(2))
    places, again = welded(vertices, faces)
    assert torch.equal(places, vertices)
    assert torch.equal(again, faces)
