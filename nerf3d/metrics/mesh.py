"""Whether a mesh is sound."""

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class MeshHealth:
    """`area` and `volume` in world units squared and cubed; `volume` is that inside the faces if the mesh is
    watertight.

    A mesh is watertight if each edge belongs to two faces that run along it in opposite directions. A negative volume
    means faces that look inwards. `low` and `high` are the corners of its bounding box.
    """

    vertices: int
    faces: int
    components: int
    watertight: bool
    area: float
    volume: float
    low: tuple[float, float, float]
    high: tuple[float, float, float]


def health(vertices: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> MeshHealth:
    """Measure a triangle mesh. Components are counted by shared vertices; vertices are not merged."""
    import trimesh

    mesh = trimesh.Trimesh(vertices.double().cpu().numpy(), faces.cpu().numpy(), process=False, validate=False)
    parts = trimesh.graph.connected_component_labels(mesh.edges_unique, node_count=len(mesh.vertices))
    (x0, y0, z0), (x1, y1, z1) = mesh.bounds.tolist()
    return MeshHealth(
        vertices=len(mesh.vertices),
        faces=len(mesh.faces),
        components=len(set(parts[mesh.faces[:, 0]].tolist())),
        watertight=bool(mesh.is_watertight and mesh.is_winding_consistent),
        area=float(mesh.area),
        volume=float(mesh.volume),
        low=(x0, y0, z0),
        high=(x1, y1, z1),
    )
