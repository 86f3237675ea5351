"""One door for every layout of a collection: what lies in the folder decides."""

from pathlib import Path

from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.eg3d import LABELS, read_eg3d
from nerf3d.data.collections.scenes import FILES, read_scenes, scene_folders
from nerf3d.data.collections.srn import INTRINSICS, read_srn, srn_objects
from nerf3d.errors import InputError


def load_collection(folder: Path, size: int | None = None) -> Collection:
    """The posed pictures of many objects, `size` pixels wide (None: as they are), by area where they shrink.

    In this order: EG3D's layout (dataset.json), ShapeNet-SRN's (folders with intrinsics.txt), and folders of
    Blender-style scenes (transforms_train.json or transforms.json). Raises InputError for anything else.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"there is no folder {folder}; check the path")
    if not folder.is_dir():
        what = "unpack it and give the folder" if folder.suffix == ".zip" else "give the folder of the collection"
        raise InputError(f"{folder} is a file; {what}")
    if (folder / LABELS).is_file():
        return read_eg3d(folder, size)
    if srn_objects(folder):
        return read_srn(folder, size)
    if scene_folders(folder):
        return read_scenes(folder, size)
    for name in FILES:
        if (folder / name).is_file():
            raise InputError(f"{folder} holds one scene ({name}), not a collection; give the folder of several scenes")
    raise InputError(
        f"{folder} holds no collection: no {LABELS} as EG3D has it, no folders with an {INTRINSICS} as ShapeNet-SRN has "
        f"them, no folders with a {' or '.join(FILES)}; check the path"
    )
