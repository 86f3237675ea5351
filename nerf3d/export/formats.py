"""From an asset to a file: one format a module, chosen by the file's suffix.

suffix  carries                                     frame
.glb    texture or colours, material, facts         the asset's; a node turns `up` to +Y, as the standard demands
.usdz   texture or colours, material, facts         the asset's where `up` is +Y or +Z, which the file says; else turned
.obj    texture (MTL and PNG beside it) or colours  the asset's
.ply    colours                                     the asset's
.stl    shape alone                                 turned: `up` is +Z
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from nerf3d.errors import InputError
from nerf3d.export.asset import Asset
from nerf3d.export.glb import glb_bytes
from nerf3d.export.obj import companions, obj_bytes
from nerf3d.export.ply import ply_bytes
from nerf3d.export.stl import stl_bytes
from nerf3d.export.usdz import usdz_bytes
from nerf3d.files import whole_file

# Each makes the bytes of a file from an asset and its name, which is the file's without the suffix.
FORMATS: dict[str, Callable[[Asset, str], bytes]] = {
    ".glb": glb_bytes,
    ".obj": obj_bytes,
    ".ply": ply_bytes,
    ".stl": stl_bytes,
    ".usdz": usdz_bytes,
}
SUFFIXES = tuple(FORMATS)


def check_format(path: Path | str) -> None:
    """Raise InputError where `write_asset` would not know the format, or lacks the library for it: ask before the work."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path} has no suffix that names a mesh format: choose one of {', '.join(SUFFIXES)}.")
    if suffix == ".usdz" and not _is_installed("pxr"):
        raise InputError(f"{path} needs the library usd-core, which is not installed: pip install 'nerf3d[usd]'.")


def write_asset(path: Path | str, asset: Asset) -> None:
    """Write the asset in the format that the suffix names (`SUFFIXES`), with what that format can carry (see above).

    Everything is encoded before the disk is touched, and the file appears whole or not at all; what an .obj refers to is
    there before it. Faces that name a vertex twice have no area and are left out, since standards forbid them.

    Raises InputError for an unknown suffix, an asset that is empty or not finite, a folder that cannot be written.
    """
    path = Path(path)
    check_format(path)
    asset = _checked(asset, path)
    suffix = path.suffix.lower()
    files = {path: FORMATS[suffix](asset, path.stem)}
    if suffix == ".obj":
        files |= {path.with_name(name): content for name, content in companions(asset, path.stem).items()}
    for place in files:
        if place.is_dir():
            raise InputError(f"{place} cannot be written (it is a folder): choose a place that can be written to.")
    with ExitStack() as stack:  # is left from behind: the asset itself takes its place last
        for place, content in files.items():
            stack.enter_context(whole_file(place)).write_bytes(content)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # somebody has put None in its place
        return False


def _checked(asset: Asset, path: Path) -> Asset:
    """The asset without its pointless faces. InputError where a file of it would be empty or nonsense."""
    a, b, c = asset.faces.unbind(1)
    faces = asset.faces[(a != b) & (b != c) & (c != a)]
    if len(faces) == 0:
        raise InputError(f"{path} would be an empty mesh: the asset has no triangles.")
    if int(faces.min()) < 0 or int(faces.max()) >= len(asset.vertices):
        raise InputError(
            f"{path} would be broken: faces name vertices that the asset of {len(asset.vertices)} has not."
        )
    if asset.textures is not None and asset.uv is None:
        raise InputError(f"{path} would have a texture but no texture coordinates: give the asset `uv`.")
    for what, values in (("positions", asset.vertices), ("normals", asset.normals), ("texture coordinates", asset.uv)):
        if values is not None and not bool(values.isfinite().all()):
            raise InputError(f"{path} would be broken: some of the {what} are not finite numbers.")
    return replace(asset, faces=faces)
