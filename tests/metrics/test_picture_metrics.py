import math

import numpy as np
import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.metrics import pictures
from nerf3d.metrics.pictures import lpips, lpips_available, psnr, ssim


def random_pair(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    a = torch.rand(height, width, 3, generator=rng)
    return a, (a + 0.2 * torch.randn(height, width, 3, generator=rng)).clamp(0, 1)


def test_psnr_in_closed_form():
    a = torch.full((8, 9, 3), 0.4)
    assert psnr(a, a + 0.1) == pytest.approx(20.0, abs=1e-4)
    assert psnr(a, a + 0.01) == pytest.approx(40.0, abs=1e-3)
    assert psnr(a, a) == math.inf


def test_psnr_under_a_mask():
    a = torch.zeros(4, 4, 3)
    b = a.clone()
    b[:2] += 0.1
    b[2:] += 0.9
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:2] = True
    assert psnr(a, b, mask) == pytest.approx(20.0, abs=1e-4)
    with pytest.raises(InputError, match="no pixel"):
        psnr(a, b, torch.zeros(4, 4, dtype=torch.bool))


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, window by window."""
    t = np.arange(11) - 5
    w = np.exp(-(t[:, None] ** 2 + t[None] ** 2) / (2 * 1.5**2))
    w = w / w.sum()
    c1, c2 = 0.01**2, 0.03**2
    found = []
    for channel in range(a.shape[2]):
        for y in range(a.shape[0] - 10):
            for x in range(a.shape[1] - 10):
                p, q = a[y : y + 11, x : x + 11, channel], b[y : y + 11, x : x + 11, channel]
                mp, mq = (w * p).sum(), (w * q).sum()
                vp, vq = (w * (p - mp) ** 2).sum(), (w * (q - mq) ** 2).sum()
                both = (w * (p - mp) * (q - mq)).sum()
                found.append((2 * mp * mq + c1) * (2 * both + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(found))


@pytest.mark.parametrize("size", [(11, 11), (17, 24)])
def test_ssim_equals_the_slow_reference(size):
    a, b = random_pair(*size)
    assert ssim(a, b) == pytest.approx(slow_ssim(a.double().numpy(), b.double().numpy()), abs=1e-9)


def test_ssim_of_identical_and_of_plain_pictures():
    a, _ = random_pair(16, 16)
    assert ssim(a, a) == pytest.approx(1.0)
    light, dark = torch.full((16, 16, 3), 0.8), torch.full((16, 16, 3), 0.2)
    assert ssim(light, dark) == pytest.approx((2 * 0.16 + 1e-4) / (0.64 + 0.04 + 1e-4), abs=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (5, 30), (10, 10)])
def test_ssim_of_pictures_smaller_than_the_window(size):
    a, b = random_pair(*size)
    assert ssim(a, a) == pytest.approx(1.0)
    assert -1 <= ssim(a, b) < 1


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """A machine that has the packages but not the weights, and on which building the network would be seen."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def never(_):
        raise AssertionError("the network was built")

    monkeypatch.setattr(pictures, "_judge", never)
    return tmp_path


def test_lpips_is_none_without_weights_and_says_what_to_do(no_weights, monkeypatch):
    monkeypatch.setattr(pictures.importlib.util, "find_spec", lambda name: object())
    there, sentence = lpips_available()
    assert not there
    assert "vgg16-397923af.pth" in sentence
    assert str(no_weights) in sentence
    a, b = random_pair(16, 16)
    assert lpips(a, b) is None
    assert list(no_weights.iterdir()) == []


def test_lpips_is_none_without_its_packages(no_weights, monkeypatch):
    monkeypatch.setattr(pictures.importlib.util, "find_spec", lambda name: None if name == "torchvision" else object())
    there, sentence = lpips_available("alex")
    assert not there
    assert "packages torchvision: `nerf3d doctor`" in sentence
    assert lpips(*random_pair(16, 16), net="alex") is None


def test_lpips_gets_pictures_from_minus_one_to_one_where_all_is_there(no_weights, monkeypatch):
    monkeypatch.setattr(pictures.importlib.util, "find_spec", lambda name: object())
    (no_weights / "checkpoints").mkdir()
    (no_weights / "checkpoints" / "vgg16-397923af.pth").write_bytes(b"")
    seen = []

    def judge(x, y):
        seen.append((x.shape, float(x.min()), float(y.max())))
        return torch.tensor([[[[0.25]]]])

    monkeypatch.setattr(pictures, "_judge", lambda net: judge)
    assert lpips_available()[0]
    assert lpips(torch.zeros(8, 9, 3), torch.ones(8, 9, 3)) == 0.25
    assert seen == [((1, 3, 8, 9), -1.0, 1.0)]


def test_an_unknown_backbone():
    with pytest.raises(InputError, match="vgg, alex"):
        lpips_available("resnet")
