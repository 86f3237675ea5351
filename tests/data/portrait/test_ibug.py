import puppet
import torch

from nerf3d.data.portrait import landmarks as names
from nerf3d.data.portrait.boxes import face_boxes
from nerf3d.data.portrait.expression import mouth
from nerf3d.data.portrait.ibug import BETWEEN, COUNT, MESH, ibug_of, mesh_of


def test_the_order_is_ibug_s() -> None:
    assert len(MESH) == len(set(MESH)) == COUNT
    assert (MESH[36], MESH[39], MESH[45], MESH[42]) == (*names.RIGHT_EYE[:2], *names.LEFT_EYE[:2])
    assert (MESH[48], MESH[54]) == names.MOUTH_CORNERS
    assert (MESH[62], MESH[66]) == names.INNER_LIPS
    assert (MESH[8], MESH[27], MESH[1], MESH[15]) == (names.CHIN, names.NOSE_BRIDGE, *names.TEMPLES)
    ring = names.OUTER_LIPS[:1] + names.OUTER_LIPS[:0:-1]  # from the right corner over the upper lip
    assert [i for i in ring if i in MESH] == list(MESH[48:60])
    for index in set(BETWEEN) & set(ring):
        apart = [ring.index(MESH[place]) - ring.index(index) for place in BETWEEN[index]]
        assert all(min(steps % 20, -steps % 20) <= 2 for steps in apart)


def test_as_much_of_the_mesh_as_they_tell() -> None:
    mesh = puppet.landmarks(30)
    again = mesh_of(ibug_of(mesh))
    torch.testing.assert_close(again[:, list(MESH), :2], mesh[:, list(MESH), :2])
    for index, (first, second) in BETWEEN.items():
        torch.testing.assert_close(again[:, index, :2], (mesh[:, MESH[first], :2] + mesh[:, MESH[second], :2]) / 2)
    flat = mesh * torch.tensor([1.0, 1.0, 0.0])
    torch.testing.assert_close(mouth(again), mouth(flat))
    only = mesh[:, list(MESH)]
    low, high = only[..., 0].amin(1), only[..., 0].amax(1)
    box = face_boxes(again, puppet.SIZE)
    assert bool((box[:, 0] <= low).all())
    assert bool((box[:, 0] + box[:, 2] >= high.clamp_max(puppet.SIZE)).all())
