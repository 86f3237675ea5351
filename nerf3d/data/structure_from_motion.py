"""Structure from motion as a program of its own: `python structure_from_motion.py JOB.json`, run by `data.poses`.

It is a process apart for three reasons: Ctrl-C ends it at once however deep it is in COLMAP's own code, a crash there
becomes an error message here, and its memory goes back to the system before training begins. It imports nothing of the
house. What it says is COLMAP's own log and, between, lines of JSON that say how far it has come: `{"stage": "cameras",
"done": 3, "total": 50}`. (COLMAP's database would know more, but must not be opened a second time in this process:
closing a file drops all locks that the process has on it, of which SQLite warns, and with which COLMAP crashed.)

A job names `work`, a folder that holds the pictures in `work/pictures` and in which the model is left as
`work/done/sparse`, if there is any; `names`, from those files' names to the ones that the model shall give them;
`pairs` of the files' names, which must not contain spaces; and `one_camera`, whether all pictures share a camera.
"""

import itertools
import json
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

SIZE = 1600  # longest side, in pixels, of the pictures that features are looked for in
FEATURES = 8192  # at most, in a picture
SHARED = 10  # so many pictures of one camera determine its distortion and principal point
BLOCK = 64  # pairs that are matched between two lines of the log
SEED = 0


def tell(stage: str, done: int, total: int) -> None:
    print(json.dumps({"stage": stage, "done": done, "total": total}), flush=True)


def reconstruct(job: dict[str, Any]) -> None:
    """Features, matches, an incremental reconstruction and its refinement; leaves `done/sparse` if there is any."""
    import pycolmap

    work = Path(job["work"])
    pictures, names = work / "pictures", job["names"]
    database = work / "database.db"
    camera_mode = pycolmap.CameraMode.SINGLE if job["one_camera"] else pycolmap.CameraMode.AUTO
    reader = pycolmap.ImageReaderOptions(camera_model="SIMPLE_RADIAL")

    tell("features", 0, len(names))
    # Listed first, in order: extraction alone would number the pictures as its threads happen to finish.
    pycolmap.Database.open(database).close()
    pycolmap.import_images(database, pictures, camera_mode, list(names), reader)
    extraction = pycolmap.FeatureExtractionOptions(max_image_size=SIZE, use_gpu=False)
    extraction.sift.max_num_features = FEATURES
    pycolmap.extract_features(
        database,
        pictures,
        image_names=list(names),
        camera_mode=camera_mode,
        reader_options=reader,
        extraction_options=extraction,
        device=pycolmap.Device.cpu,
    )

    tell("pairs", 0, len(job["pairs"]))
    pairs = work / "pairs.txt"
    pairs.write_text("".join(f"{first} {second}\n" for first, second in job["pairs"]), encoding="utf-8")
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = SEED
    pycolmap.match_image_pairs(
        database,
        matching_options=pycolmap.FeatureMatchingOptions(use_gpu=False),
        pairing_options=pycolmap.ImportedPairingOptions(match_list_path=pairs, block_size=BLOCK),
        verification_options=verification,
        device=pycolmap.Device.cpu,
    )

    # Just here, and not at the beginning: the stages before use up an amount of chance that depends on their threads.
    pycolmap.set_random_seed(SEED)
    placed = itertools.count(1)
    tell("cameras", 0, len(names))
    (work / "models").mkdir()
    models = pycolmap.incremental_mapping(
        database,
        pictures,
        work / "models",
        options=pycolmap.IncrementalPipelineOptions(min_model_size=3, random_seed=SEED, extract_colors=False),
        next_image_callback=lambda: tell("cameras", next(placed), len(names)),
    )
    if models:
        model = refine(max(models.values(), key=lambda model: model.num_reg_images()))
        for image in model.images.values():
            image.name = names[image.name]
        sparse = work / "done" / "sparse"
        sparse.mkdir(parents=True)
        model.write_binary(sparse)


def refine(model: Any) -> Any:
    """The model with OPENCV distortion and a principal point of its own, where enough pictures share each camera.

    Mapping begins with one radial coefficient and the principal point in the middle, which is what converges. On 50
    telephone pictures this last adjustment brought the rotations from 0.60 to 0.10 degrees of the known ones. The
    result is dropped if it does not explain the pictures better or moves a principal point by a tenth of the picture.
    """
    import pycolmap

    shared = Counter(image.camera_id for image in model.images.values() if image.has_pose)
    if min(shared.values()) < SHARED:
        return model
    refined = pycolmap.Reconstruction(model)
    for number in shared:
        camera = refined.cameras[number]
        focal, cx, cy, k1 = camera.params
        camera.model = pycolmap.CameraModelId.OPENCV
        camera.params = [focal, focal, cx, cy, k1, 0, 0, 0]
    pycolmap.bundle_adjustment(
        refined, pycolmap.BundleAdjustmentOptions(refine_principal_point=True, print_summary=False)
    )
    refined.update_point_3d_errors()
    better = refined.compute_mean_reprojection_error() <= model.compute_mean_reprojection_error()
    central = all(
        abs(camera.principal_point_x / camera.width - 0.5) < 0.1
        and abs(camera.principal_point_y / camera.height - 0.5) < 0.1
        for camera in (refined.cameras[number] for number in shared)
    )
    return refined if better and central else model


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that started this one decides what Ctrl-C means
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # if that program is gone, end with the next line of the log
    reconstruct(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
