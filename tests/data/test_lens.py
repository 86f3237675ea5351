import math

import pytest

from nerf3d.data.lens import number, read_optics
from nerf3d.errors import InputError


def optics(document, frame=None, width=80, height=60):
    return read_optics("a.json", document, frame or {}, width, height)


def test_angle_of_view():
    # Half of 80 pixels under half of 90 degrees: 40 / tan(45) = 40.
    assert optics({"camera_angle_x": math.pi / 2}).intrinsics == pytest.approx((40, 40, 40, 30))
    assert optics({"camera_angle_y": math.pi / 2}).intrinsics == pytest.approx((30, 30, 40, 30))
    both = {"camera_angle_x": math.pi / 2, "camera_angle_y": math.pi / 3}
    assert optics(both).intrinsics == pytest.approx((40, 30 * math.sqrt(3), 40, 30))


def test_lengths_come_before_angles():
    document = {"fl_x": 50, "fl_y": 51, "cx": 41, "cy": 29, "camera_angle_x": 1.0}
    assert optics(document).intrinsics == (50, 51, 41, 29)


def test_a_frame_comes_before_the_file():
    document = {"fl_x": 50, "cx": 41, "k1": 0.1, "k2": 0.2}
    own = optics(document, {"camera_angle_x": math.pi / 2, "cx": 38, "k1": 0.3, "k2": None})
    assert own.intrinsics == pytest.approx((40, 40, 38, 30))
    assert own.distortion == (0.3, 0.2, 0, 0, 0)


def test_numbers_as_strings():
    assert optics({"fl_x": "50", "w": "80.0", "h": "60.0"}).intrinsics == (50, 50, 40, 30)
    assert number("a", {"x": " 1e1 "}, "x") == 10
    assert number("a", {}, "x") is None


def test_reduced_pictures():
    document = {"fl_x": 100, "fl_y": 120, "cx": 82, "cy": 61, "w": 160.0, "h": 120.0, "k1": 0.1}
    assert optics(document).intrinsics == (50, 60, 41, 30.5)
    assert optics(document).distortion[0] == 0.1
    assert optics({"camera_angle_x": math.pi / 2, "w": 160, "h": 120}).intrinsics == pytest.approx((40, 40, 40, 30))


def test_distortion():
    document = {"fl_x": 1, "k1": 1, "k2": 2, "k3": 3, "p1": 4, "p2": 5}
    assert optics({**document, "camera_model": "OPENCV"}).distortion == (1, 2, 4, 5, 3)
    assert optics(document).lens == "pinhole"
    for fisheye in ({"camera_model": "OPENCV_FISHEYE"}, {"is_fisheye": True}):
        own = optics({**document, "k4": 6, **fisheye})
        assert own.lens == "fisheye"
        assert own.distortion == (1, 2, 3, 6, 0)
    for model in ("PINHOLE", "SIMPLE_PINHOLE", "pinhole", "SIMPLE_RADIAL"):
        assert optics({"fl_x": 1, "camera_model": model, "is_fisheye": False}).lens == "pinhole"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "gives no focal length; add fl_x"),
        ({"fl_x": 0}, "a focal length is above 0"),
        ({"fl_x": -5}, "a focal length is above 0"),
        ({"fl_x": float("nan")}, "'fl_x' is nan, which is not finite"),
        ({"fl_x": "wide"}, "'fl_x' is 'wide', which is not a number"),
        ({"fl_x": [5]}, "which is not a number"),
        ({"camera_angle_x": 0}, "an angle of view lies between 0 and pi"),
        ({"camera_angle_x": 4}, "an angle of view lies between 0 and pi"),
        ({"fl_x": 5, "cx": float("inf")}, "'cx' is inf"),
        ({"fl_x": 5, "w": 60, "h": 80}, "for pictures of 60 x 80 pixels but the picture is 80 x 60, another shape"),
        ({"fl_x": 5, "w": -80}, "another shape"),
        ({"fl_x": 5, "k4": 0.1}, "k4 to k6, which is not supported; undistort"),
        ({"fl_x": 5, "camera_model": "EQUIRECTANGULAR"}, "the camera model EQUIRECTANGULAR is not supported"),
    ],
)
def test_errors(document, message):
    with pytest.raises(InputError, match=message):
        optics(document)
