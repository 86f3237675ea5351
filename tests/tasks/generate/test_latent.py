"""Codes on disk: there and back, and what is refused."""

from pathlib import Path

import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.tasks.generate.latent import Latent, read_latent, write_latent


def test_there_and_back(tmp_path: Path) -> None:
    latent = Latent(torch.randn(2, 3), "abc-7", "seed 3", {"decoder.weight": torch.randn(4)})
    write_latent(latent, tmp_path / "latent.safetensors")
    found = read_latent(tmp_path / "latent.safetensors")
    assert torch.equal(found.code, latent.code)
    assert (found.model, found.how) == ("abc-7", "seed 3")
    assert torch.equal(found.tuned["decoder.weight"], latent.tuned["decoder.weight"])
    found.require("abc-7", "it")
    with pytest.raises(InputError, match="it holds a code of another model"):
        found.require("abc-8", "it")


def test_what_is_no_latent(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no latent"):
        read_latent(tmp_path / "nothing")
    (tmp_path / "text").write_text("hello, this is not one")
    with pytest.raises(InputError, match="is no latent"):
        read_latent(tmp_path / "text")
