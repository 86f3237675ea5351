import pytest
import torch

from nerf3d.core import Box
from nerf3d.errors import InputError
from nerf3d.export.manifold import apart, is_closed, without_fins
from nerf3d.export.simplify import simplify, smooth
from nerf3d.export.surface import extract_surface, largest_components
from nerf3d.export.weld import welded
from nerf3d.metrics.mesh import health

TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
CORNERS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


def volume(vertices: torch.Tensor, faces: torch.Tensor) -> float:
    a, b, c = vertices.double()[faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum()) / 6


def test_a_tetrahedron_is_closed_and_what_lacks_a_face_is_not() -> None:
    assert is_closed(TETRAHEDRON)
    assert not is_closed(TETRAHEDRON[:3])
    assert not is_closed(torch.cat([TETRAHEDRON[:3], TETRAHEDRON[3:, [1, 0, 2]]]))  # one face turned over
    assert not is_closed(TETRAHEDRON[:0])


def test_two_bodies_that_share_a_vertex_get_their_own() -> None:
    other = torch.tensor([0, 4, 5, 6])[TETRAHEDRON]
    places = torch.cat([CORNERS, -CORNERS[1:].flip(0)])
    vertices, faces = apart(places, torch.cat([TETRAHEDRON, other]))
    assert len(vertices) == 8
    assert is_closed(faces)
    assert health(vertices, faces).components == 2


def test_two_bodies_that_share_an_edge_get_their_own() -> None:
    """Both stand on the edge from 0 to 1, on opposite sides of it."""
    places = torch.cat([CORNERS, torch.tensor([[0.0, -1, 0], [0, 0, -1]])])
    other = torch.tensor([0, 1, 4, 5])[TETRAHEDRON]
    both = torch.cat([TETRAHEDRON, other])
    assert not is_closed(both)
    vertices, faces = apart(places, both)
    assert is_closed(faces)
    assert health(vertices, faces).components == 2
    assert volume(vertices, faces) == pytest.approx(2 / 6, rel=0.05)
    assert len(torch.unique(vertices, dim=0)) == 8  # no two at one place, or others would join them again


def test_a_body_that_touches_itself_along_an_edge_is_split_in_its_middle() -> None:
    """A ring of four wedges around an edge in which two are missing, with caps that connect the others at both its ends."""
    top, bottom = torch.tensor([0.0, 0, 1]), torch.tensor([0.0, 0, -1])
    around = [torch.tensor([x, y, 0.0]) for x, y in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    far = [torch.tensor([0.0, 0, 2]), torch.tensor([0.0, 0, -2])]
    vertices = torch.stack([top, bottom, *around, *far])
    # Quarters 0 (corners 2, 3) and 2 (corners 4, 5) are solid between the edge and its surroundings; over and under them
    # all four quarters are.
    solid = [[0, 1, 2, 3], [0, 1, 4, 5]]
    solid += [
        [6, 0, 2, 3],
        [6, 0, 3, 4],
        [6, 0, 4, 5],
        [6, 0, 5, 2],
        [1, 7, 2, 3],
        [1, 7, 3, 4],
        [1, 7, 4, 5],
        [1, 7, 5, 2],
    ]
    faces = []
    for a, b, c, d in solid:
        whole = torch.tensor([[a, b, c], [a, c, d], [a, d, b], [b, d, c]])
        p = vertices[torch.tensor([a, b, c, d])]
        faces.append(whole if float(torch.linalg.det(p[1:] - p[0])) < 0 else whole[:, [0, 2, 1]])
    surface = without_fins(torch.cat(faces))  # what lies between two bodies goes
    before = volume(vertices, surface)
    assert not is_closed(surface)
    x, closed = apart(vertices, surface)
    assert is_closed(closed)
    assert health(x, closed).components == 1
    assert volume(x, closed) == pytest.approx(before, rel=0.05)
    assert len(x) > len(vertices)


def test_fins_go_and_what_is_left_over_of_a_kind_stays() -> None:
    fin = torch.tensor([[0, 1, 4], [1, 0, 4]])
    assert torch.equal(without_fins(torch.cat([TETRAHEDRON, fin])), TETRAHEDRON)
    assert torch.equal(
        without_fins(torch.tensor([[0, 0, 1], [0, 1, 2], [1, 2, 0], [2, 1, 0]])), torch.tensor([[0, 1, 2]])
    )


def test_what_is_open_stays_open() -> None:
    vertices, faces = apart(CORNERS, TETRAHEDRON[:3])
    assert torch.equal(vertices[faces], CORNERS[TETRAHEDRON[:3]])
    assert not is_closed(faces)


def thin_frame(x: torch.Tensor) -> torch.Tensor:
    """Two thin plates and a bar between them: what decimation likes to tear."""
    plate = (x[:, 2].abs() - 0.5).abs() < 0.03
    bar = (x[:, :2].abs() < 0.05).all(1)
    inside = (x[:, :2].abs() < 0.7).all(1) & (x[:, 2].abs() < 0.53)
    return torch.where((plate | bar) & inside, 200.0, 0.0)


@pytest.mark.parametrize("faces", [4000, 300])
def test_decimation_keeps_a_closed_surface_closed(faces: int) -> None:
    fine = extract_surface(thin_frame, Box.cube(1.0), 64, level=50.0)
    coarse = simplify(fine, faces)
    assert len(fine.faces) > 4 * faces or faces > 300
    assert 0.8 * faces < len(coarse.faces) < 1.15 * faces
    assert is_closed(coarse.faces)
    assert is_closed(welded(coarse.vertices, coarse.faces)[1])
    assert volume(coarse.vertices, coarse.faces) == pytest.approx(volume(fine.vertices, fine.faces), rel=0.05)


def test_decimation_leaves_small_meshes_alone_and_refuses_nonsense() -> None:
    ball = extract_surface(lambda x: torch.relu(0.5 - x.norm(dim=-1)) * 400, Box.cube(1.0), 24, level=5.0)
    assert simplify(ball, 10**9) is ball
    for faces in (0, -5, 3):
        with pytest.raises(InputError, match=f"a mesh of {faces} triangles"):
            simplify(ball, faces)


def test_smoothing_takes_bumps_away_and_keeps_the_volume() -> None:
    ball = extract_surface(lambda x: torch.relu(0.6 - x.norm(dim=-1)) * 400, Box.cube(1.0), 32, level=5.0)
    rough = ball.vertices + 0.01 * torch.randn(ball.vertices.shape, generator=torch.Generator().manual_seed(1))
    from dataclasses import replace

    bumpy = replace(ball, vertices=rough)
    even = smooth(bumpy, 10)

    def bumps(surface) -> float:
        return float(surface.vertices.norm(dim=-1).std())

    assert bumps(even) < 0.5 * bumps(bumpy)
    assert volume(even.vertices, even.faces) == pytest.approx(volume(ball.vertices, ball.faces), rel=0.02)
    assert len(largest_components(even).faces) == len(ball.faces)
