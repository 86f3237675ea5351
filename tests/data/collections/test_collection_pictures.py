from pathlib import Path

import pytest
import torch
from PIL import Image

from nerf3d.data.collections import pictures as module
from nerf3d.data.collections.pictures import area_weights, load_resized, resized
from nerf3d.errors import InputError


def random_pictures(count: int, height: int, width: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, height, width, 4), generator=rng).to(torch.uint8)


def test_whole_factors_are_means_of_blocks() -> None:
    pictures = random_pictures(2, 12, 8)
    pictures[..., 3] = 255
    small = resized(pictures, 4, 6).float()
    mean = torch.nn.functional.avg_pool2d(pictures.float().permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    assert float((small - mean).abs().max()) <= 0.51
    assert torch.equal(resized(pictures, 8, 12), pictures)


def test_any_factor_keeps_the_amount() -> None:
    for old, new in ((7, 3), (128, 100), (5, 9)):
        weights = area_weights(old, new)
        assert torch.allclose(weights.sum(1), torch.ones(new), atol=1e-6)
        assert torch.allclose(weights.sum(0), torch.full((old,), new / old), atol=1e-6)


def test_what_is_transparent_does_not_colour_its_neighbours() -> None:
    pair = torch.tensor([[[[200, 100, 0, 255], [0, 0, 255, 0]], [[200, 100, 0, 255], [0, 0, 255, 0]]]])
    assert resized(pair.to(torch.uint8), 1, 1)[0, 0, 0].tolist() == [200, 100, 0, 128]
    assert resized(torch.zeros(1, 2, 2, 4, dtype=torch.uint8), 1, 1)[0, 0, 0].tolist() == [0, 0, 0, 0]


def test_files_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    pictures = random_pictures(5, 6, 6)
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture.numpy()).save(path)
    assert torch.equal(load_resized(paths), pictures)
    assert torch.equal(load_resized(paths, 3), resized(pictures, 3, 3))
    with pytest.raises(InputError, match="cannot become 0 pixels wide"):
        load_resized(paths, 0)
    Image.fromarray(pictures[0, :4].numpy()).save(paths[4])
    with pytest.raises(InputError, match=r"4\.png is 6 x 4 pixels but .*0\.png is 6 x 6"):
        load_resized(paths)
