"""`nerf3d eval` for a mesh in a file: whether it is sound, and how near it comes to its field or to the true surface."""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nerf3d.console import say, tracked
from nerf3d.core import Cameras, Scene
from nerf3d.core.cameras import look_at
from nerf3d.core.numerics import normalize
from nerf3d.core.paths import focus_point, orbit_around
from nerf3d.data.mesh_file import SUFFIXES, MeshFile, read_mesh
from nerf3d.errors import InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.export.weld import welded
from nerf3d.files import write_json
from nerf3d.metrics.asset import SurfaceError, TextureHealth, degenerate_faces, surface_error, texture_health
from nerf3d.metrics.intersections import cut_faces
from nerf3d.metrics.mesh import MeshHealth, health
from nerf3d.metrics.pictures import psnr
from nerf3d.render.mesh import Mesh, render_mesh
from nerf3d.render.picture import render_picture
from nerf3d.runs import open_run
from nerf3d.scenes import load_scene

CAMERAS = 16
LONGEST = 400
"""Pictures are no larger than this on their longer side."""
SHEET_CAMERAS = 6
SPREAD = 15.0
"""Degrees above and below the usual height of a run's cameras that are looked from at least."""
FAR = 0.1
"""Of the diagonal: a Chamfer distance that more often says that two meshes stand in different frames."""


@dataclass(frozen=True)
class PictureError:
    """Pictures of the asset against those of its field, from cameras that no training saw, before the run's background.

    `psnr` is the mean over the cameras of each one's PSNR (`cameras`), the figure to quote; `psnr_of_mean_error` is that
    of the squared error's mean over all cameras, which bad views pull down. Infinite ones become null in JSON.
    """

    psnr: float
    psnr_of_mean_error: float
    cameras: tuple[float, ...]
    width: int
    height: int
    background: tuple[float, float, float]
    step: int


@dataclass(frozen=True)
class AssetEvaluation:
    """What can be said of an asset. `mesh`, `degenerate`, `self_intersections` (faces that cut others) and `texture` are
    in the file's own frame and unit, seams welded; None without texture coordinates.

    `pictures` is there against a run, `surface` against a mesh. Surfaces are compared in the world of the scene they were
    made from: `in_world` and `against_in_world` say whether the files told how to get back there; a file that does not
    is taken as it is.
    """

    asset: str
    mesh: MeshHealth
    degenerate: int
    self_intersections: int
    texture: TextureHealth | None
    in_world: bool
    against: str | None = None
    against_in_world: bool | None = None
    pictures: PictureError | None = None
    surface: SurfaceError | None = None


def evaluate_asset(asset: Path | str, against: Path | str | None = None) -> AssetEvaluation:
    """Measure a .glb, .obj, .ply, .stl or .usdz, and write ASSET.metrics.json beside it.

    `against` is the run that it was exported from (16 pictures of either are compared, some of them shown in
    ASSET.evaluation.png, field and asset side by side), or a file with the true mesh; None: the asset alone.

    Raises InputError for files that cannot be read, and against a run for an asset that does not say where in the run's
    world it stands, or whose colours cannot be read.
    """
    path, other = Path(asset), None if against is None else Path(against)
    is_mesh = other is not None and not other.is_dir() and other.suffix.lower() in SUFFIXES
    if other is not None and not is_mesh and other.is_file():
        raise InputError(f"{other} is neither a run's folder nor a mesh ({', '.join(SUFFIXES)}): give one of them.")
    run = open_run(other) if other is not None and not is_mesh else None
    found = read_mesh(path)
    truth = read_mesh(other) if other is not None and is_mesh else None
    if found.lacks is not None and run is None:
        say(f"{path.name}: {found.lacks}")
    if run is not None:
        _check_comparable(path, found)
    result = _health(path.name, found)
    if truth is not None:
        result = replace(
            result,
            against=str(other),
            against_in_world=truth.file_from_world is not None,
            surface=surface_error(found.in_world, found.faces, truth.in_world, truth.faces),
        )
    if run is not None:
        scene, step = load_scene(run)
        compared, sheet = _compare_pictures(scene, step, found)
        result = replace(result, against=str(other), pictures=compared)
        write_picture(path.with_name(f"{path.name}.evaluation.png"), sheet)
    write_json(path.with_name(f"{path.name}.metrics.json"), asdict(result))
    return result


def _check_comparable(path: Path, mesh: MeshFile) -> None:
    if mesh.lacks is not None:
        raise InputError(f"{path} cannot be compared with a run's colours ({mesh.lacks}): mend it or export it again.")
    if mesh.texture is None and mesh.colors is None:
        raise InputError(f"{path} has no colours to compare with a run's: export it as .glb, .usdz, .obj or .ply.")
    if mesh.file_from_world is None:
        raise InputError(
            f"{path} does not say where it stands in the run's world (asset_from_world): export it again with "
            "nerf3d export, and evaluate it before other programs change it."
        )


def _health(name: str, mesh: MeshFile) -> AssetEvaluation:
    vertices, faces = welded(mesh.vertices.float(), mesh.faces)
    texture = None
    if mesh.uv is not None:
        size = None if mesh.texture is None else (mesh.texture.shape[0], mesh.texture.shape[1])
        texture = texture_health(mesh.vertices, mesh.faces, mesh.uv, size)
    return AssetEvaluation(
        asset=name,
        mesh=health(vertices, faces),
        degenerate=degenerate_faces(vertices, faces),
        self_intersections=int(cut_faces(vertices, faces).sum()),
        texture=texture,
        in_world=mesh.file_from_world is not None,
    )


def fresh_cameras(scene: Scene, count: int = CAMERAS) -> Cameras:
    """Cameras around the scene, on the run's own orbit (see `core.paths.orbit_around`) but at changing heights.

    Their elevations fill the range in which four fifths of the run's cameras stand, and 15 degrees to either side of its
    middle at least. Pictures as large as the run's, at most 400 pixels on their longer side; a lens without distortion.
    """
    inputs, up = scene.cameras, scene.up
    target = focus_point(inputs)
    rise = torch.rad2deg(torch.asin((normalize(inputs.center - target) @ up).clamp(-1, 1)))
    middle = float(rise.median())
    low = min(float(rise.quantile(0.1)), middle - SPREAD)
    high = max(float(rise.quantile(0.9)), middle + SPREAD)
    golden = 0.5 * (math.sqrt(5) - 1)  # multiples of it fill an interval evenly, however many there are
    share = (torch.arange(count) * golden + 0.5) % 1
    elevation = torch.deg2rad((low + (high - low) * share).clamp(-85, 85))[:, None]
    offset = orbit_around(inputs, up, count)[:, :, 3] - target
    level = normalize(offset - (offset @ up)[:, None] * up)
    outward = torch.cos(elevation) * level + torch.sin(elevation) * up
    poses = look_at(target + offset.norm(dim=1, keepdim=True) * outward, target, up)
    intrinsics = inputs.intrinsics.contiguous().median(0).values.expand(count, 4)  # of repeated rows it makes nonsense
    cameras = Cameras(poses, intrinsics, torch.zeros(count, 5), inputs.width, inputs.height)
    scale = min(LONGEST / max(inputs.width, inputs.height), 1.0)
    return cameras.scaled_to(max(round(inputs.width * scale), 1), max(round(inputs.height * scale), 1))


def _compare_pictures(scene: Scene, step: int, mesh: MeshFile) -> tuple[PictureError, Tensor]:
    """The figures, and a sheet of pictures: field, asset, field, asset ..."""
    shown = Mesh(
        mesh.in_world.float(),
        mesh.faces,
        None if mesh.colors is None else mesh.colors.float() / 255,
        mesh.uv,
        None if mesh.texture is None else mesh.texture.float() / 255,
    )
    cameras = fresh_cameras(scene)
    figures: list[float] = []
    errors: list[float] = []
    pictures: list[Tensor] = []
    for index in tracked(range(len(cameras)), "eval", len(cameras)):
        field = render_picture(scene, cameras, index).color.clamp(0, 1)
        asset = render_mesh(shown, cameras, index, scene.background).color.clamp(0, 1)
        figures.append(psnr(asset, field))
        errors.append(float((asset.double() - field.double()).square().mean()))
        if len(pictures) < 2 * SHEET_CAMERAS and index % max(len(cameras) // SHEET_CAMERAS, 1) == 0:
            pictures += [color_picture(field), color_picture(asset)]
    error = sum(errors) / len(errors)
    red, green, blue = scene.background.tolist()
    result = PictureError(
        psnr=sum(figures) / len(figures),
        psnr_of_mean_error=-10 * math.log10(error) if error > 0 else math.inf,
        cameras=tuple(figures),
        width=cameras.width,
        height=cameras.height,
        background=(red, green, blue),
        step=step,
    )
    return result, contact_sheet(pictures, 4)


def table(result: AssetEvaluation) -> str:
    """The evaluation for reading."""
    mesh = result.mesh
    size = " x ".join(f"{high - low:.4g}" for low, high in zip(mesh.low, mesh.high, strict=True))
    closed = f"watertight, volume {mesh.volume:.4g}" if mesh.watertight else "not watertight"
    rows = [
        ("mesh", f"{mesh.faces} triangles in {mesh.components} part{'s' * (mesh.components != 1)}, {closed}"),
        ("size", f"{size}, area {mesh.area:.4g}"),
        ("degenerate", f"{result.degenerate} faces without area"),
        ("intersections", f"{result.self_intersections} faces that cut others"),
    ]
    if result.texture is not None:
        used, overlap = 100 * result.texture.used, 100 * result.texture.overlap
        rows.append(("texture", f"{used:.1f} % used, {overlap:.2f} % of that more than once"))
        if result.texture.density is not None:
            low, middle, high = result.texture.density
            rows.append(("density", f"{middle:.4g} texels per unit (5th to 95th percentile: {low:.4g} to {high:.4g})"))
    if result.surface is not None:
        rows += _surface_rows(result.surface, result)
    if result.pictures is not None:
        rows += _picture_rows(result.pictures)
    return "\n".join(f"{name:<18} {text}" for name, text in rows)


def _surface_rows(surface: SurfaceError, result: AssetEvaluation) -> list[tuple[str, str]]:
    frames = {True: "moved back to its scene's world", False: "as it is in its file"}
    rows = [
        ("chamfer", f"{surface.chamfer:.4g}, {100 * surface.chamfer_share:.3f} % of the diagonal "
                    f"(samples are {surface.finest:.2g} apart)"),
        ("normals", f"consistency {surface.normal_consistency:.4f}"),
        ("f-score", f"{surface.f_score:.4f} within 1 % of the diagonal ({surface.threshold:.4g})"),
        ("compared", f"asset {frames[result.in_world]}, true mesh {frames[result.against_in_world is True]}"),
    ]  # fmt: skip
    if surface.chamfer_share > FAR:
        rows.append(("note", "so far apart they may stand in different frames or units; nothing is aligned here"))
    return rows


def _picture_rows(pictures: PictureError) -> list[tuple[str, str]]:
    each = " ".join(f"{value:.1f}" for value in pictures.cameras)
    background = {(1.0, 1.0, 1.0): "white", (0.0, 0.0, 0.0): "black"}.get(pictures.background, str(pictures.background))
    return [
        ("PSNR", f"{pictures.psnr:.2f} dB against the field: the mean over {len(pictures.cameras)} cameras"),
        ("", f"{pictures.psnr_of_mean_error:.2f} dB of the mean squared error"),
        ("", f"{pictures.width} x {pictures.height} pixels before {background}; step {pictures.step}"),
        ("each camera", each),
    ]
