"""COLMAP's files written by hand, straight from the description of the format, for the tests of what reads them."""

import struct
from pathlib import Path

MODEL_NUMBERS = {
    "SIMPLE_PINHOLE": 0,
    "PINHOLE": 1,
    "SIMPLE_RADIAL": 2,
    "RADIAL": 3,
    "OPENCV": 4,
    "OPENCV_FISHEYE": 5,
    "FULL_OPENCV": 6,
    "FOV": 7,
    "SIMPLE_RADIAL_FISHEYE": 8,
    "RADIAL_FISHEYE": 9,
    "THIN_PRISM_FISHEYE": 10,
}

# cameras: (number, model, width, height, parameters)
# images:  (number, (qw, qx, qy, qz), (tx, ty, tz), camera, name, [(x, y, point)])
# points:  (number, (x, y, z), [(image, keypoint)])


def write_binary(folder: Path, cameras, images, points) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = struct.pack("<Q", len(cameras))
    for number, model, width, height, parameters in cameras:
        data += struct.pack("<IiQQ", number, MODEL_NUMBERS[model], width, height)
        data += struct.pack(f"<{len(parameters)}d", *parameters)
    (folder / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(images))
    for number, q, t, camera, name, keypoints in images:
        data += struct.pack("<I", number) + struct.pack("<4d", *q) + struct.pack("<3d", *t) + struct.pack("<I", camera)
        data += name.encode() + b"\0" + struct.pack("<Q", len(keypoints))
        for keypoint in keypoints:
            data += struct.pack("<ddq", *keypoint)
    (folder / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(points))
    for number, xyz, track in points:
        data += struct.pack("<Q", number) + struct.pack("<3d", *xyz) + bytes((1, 2, 3)) + struct.pack("<d", 0.5)
        data += struct.pack("<Q", len(track)) + b"".join(struct.pack("<II", *element) for element in track)
    (folder / "points3D.bin").write_bytes(data)


def write_text(folder: Path, cameras, images, points) -> None:
    def row(*values) -> str:
        return " ".join(repr(value) if isinstance(value, float) else str(value) for value in values) + "\n"

    folder.mkdir(parents=True, exist_ok=True)
    text = "# Camera list with one line of data per camera:\n#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n"
    for number, model, width, height, parameters in cameras:
        text += row(number, model, width, height, *parameters)
    (folder / "cameras.txt").write_text(text)
    text = "# Image list with two lines of data per image:\n"
    for number, q, t, camera, name, keypoints in images:
        text += row(number, *q, *t, camera, name) + row(*(value for keypoint in keypoints for value in keypoint))
    (folder / "images.txt").write_text(text)
    text = "# 3D point list with one line of data per point:\n"
    for number, xyz, track in points:
        text += row(number, *xyz, 1, 2, 3, 0.5, *(value for element in track for value in element))
    (folder / "points3D.txt").write_text(text)
