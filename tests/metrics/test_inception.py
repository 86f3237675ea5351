"""Inception by a file: with random weights, since the real ones are no part of this."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nerf3d.errors import InputError
from nerf3d.metrics.inception import Inception
from nerf3d.torchvision_repair import import_torchvision

pytestmark = pytest.mark.skipif(not import_torchvision(), reason="torchvision is not installed")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False, num_classes=10, aux_logits=False)
    file = tmp_path_factory.mktemp("inception") / "weights.safetensors"
    save_file(network.state_dict(), file)
    return file


def test_features_are_what_the_last_layer_reads(weights: Path) -> None:
    """Two pictures, one of them twice, in sizes that are enlarged: the classes follow from the features."""
    inception = Inception.open(weights)
    pictures = torch.rand(2, 8, 8, 3, generator=torch.Generator().manual_seed(1))[[0, 1, 0]]
    seen = inception.see(pictures)
    assert seen.features.shape == (3, 2048)
    torch.testing.assert_close(seen.features[0], seen.features[2])
    assert not torch.allclose(seen.features[0], seen.features[1])
    with torch.no_grad():
        torch.testing.assert_close(inception.network.fc(seen.features).softmax(1), seen.classes)
    assert not inception.network.avgpool._forward_hooks


def test_other_files_are_refused(weights: Path, tmp_path: Path) -> None:
    text, other = tmp_path / "text.safetensors", tmp_path / "other.safetensors"
    text.write_text("nothing")
    with pytest.raises(InputError, match=r"cannot be read as weights .*give a \.safetensors"):
        Inception.open(text)
    with pytest.raises(InputError, match="cannot be read"):
        Inception.open(tmp_path / "missing.safetensors")
    save_file({"fc.weight": torch.zeros(3, 2048)}, other)
    with pytest.raises(InputError, match="does not hold the weights of torchvision's inception_v3"):
        Inception.open(other)
    save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(InputError, match=r"fc\.weight is missing"):
        Inception.open(other)
