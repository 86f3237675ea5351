import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nerf3d.data.world.captions import single_captions, understand
from nerf3d.data.world.examples import picture, random_cameras
from nerf3d.data.world.model import shape
from nerf3d.data.world.trace import trace
from nerf3d.errors import InputError
from nerf3d.metrics.clip import Evaluator
from nerf3d.metrics.retrieval import retrieve
from nerf3d.torchvision_repair import import_torchvision

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "evaluator"
made = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{FOLDER} is not there: scripts/train_evaluator.py makes it")
AZIMUTHS = [0.0, 90.0, 180.0, 270.0]


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    import_torchvision()
    pytest.importorskip("open_clip")
    if not FOLDER.is_dir():
        pytest.skip(f"{FOLDER} is not there: scripts/train_evaluator.py makes it")
    return Evaluator.open(FOLDER)


def around(text: str, seed: int = 0) -> Tensor:
    """Pictures in [0, 1] of a description from four sides."""
    description = understand(text)
    assert description is not None
    rng = torch.Generator().manual_seed(seed)
    cameras = random_cameras(torch.tensor(AZIMUTHS), torch.full((4,), 20.0), rng)
    each = []
    for i in range(4):
        rays = cameras.rays(i)
        each.append(picture(description, trace(shape(description), rays), rays.direction, rng))
    return torch.stack(each).float() / 255


@pytest.mark.parametrize("text", ["a red mushroom", "a striped blue chair", "a shiny red mug", "a yellow car"])
def test_the_right_caption_comes_first(evaluator: Evaluator, text: str) -> None:
    found = retrieve(evaluator, around(text), text, [str(caption) for caption in single_captions()])
    assert found.rank == 1, found
    assert found.right_views >= 0.5


def test_size_and_batches_hardly_matter(evaluator: Evaluator) -> None:
    images = around("a red mushroom")
    large = images.repeat_interleave(3, 1).repeat_interleave(3, 2)
    assert float((evaluator.see(images) * evaluator.see(large)).sum(-1).min()) > 0.97
    assert torch.allclose(evaluator.see(images)[2:], evaluator.see(images[2:]), atol=1e-4)
    assert torch.allclose(evaluator.see(images).norm(dim=-1), torch.ones(4), atol=1e-4)


@made
def test_what_was_measured_is_what_is_promised() -> None:
    shares = json.loads((FOLDER / "metrics.json").read_text())["shares"]
    assert shares["color, object"] >= 0.95
    assert shares["textureless, object"] >= 0.85
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 15e6


@made
@pytest.mark.parametrize("missing", ["open_clip_config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_part(tmp_path: Path, missing: str) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "model"))
    (folder / missing).unlink()
    (folder / "model.bin").write_bytes(b"")  # pickled weights do not count
    with pytest.raises(InputError, match="no open_clip model"):
        Evaluator.open(folder)


def test_a_damaged_model(evaluator: Evaluator, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "model"))
    (folder / "open_clip_config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        Evaluator.open(folder)
