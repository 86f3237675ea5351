"""The parts that the embedded prior is made of, before any of them is trained."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from nerf3d.guidance.libraries import prepare

prepare()

import prior_autoencoder  # noqa: E402
import prior_text  # noqa: E402

from nerf3d.data.world.captions import vocabulary  # noqa: E402


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(6, 3, 8, 8, generator=rng), 64, mode="bilinear")
    return 2 * smooth - 1


def test_patches_hold_every_pixel_once(pixels: torch.Tensor) -> None:
    split = prior_autoencoder.patches(pixels)
    assert split.shape == (6, 48, 16, 16)
    corner = pixels[0, :, :4, :4]
    assert torch.equal(split[0, :, 0, 0].sort().values, corner.flatten().sort().values)


def test_the_encoder_is_exactly_linear(pixels: torch.Tensor) -> None:
    components, mean = prior_autoencoder.principal_components(pixels)
    vae = prior_autoencoder.make_autoencoder(components, mean)
    expected = torch.einsum("kc,bchw->bkhw", components, prior_autoencoder.patches(pixels) - mean[None, :, None, None])
    with torch.no_grad():
        latents = vae.encode(pixels).latent_dist
    assert torch.allclose(latents.mean, expected, atol=3e-3 * float(expected.abs().max()))
    assert float(latents.std.max()) < 1e-4


def test_components_are_orthogonal_and_explain_the_pictures(pixels: torch.Tensor) -> None:
    components, mean = prior_autoencoder.principal_components(pixels)
    unit = torch.nn.functional.normalize(components, dim=1)
    assert torch.allclose(unit @ unit.t(), torch.eye(len(unit)), atol=1e-4)
    flat = prior_autoencoder.patches(pixels).permute(0, 2, 3, 1).reshape(-1, 48) - mean
    left = flat - flat @ unit.t() @ unit
    assert float(left.square().mean()) < 0.02 * float(flat.square().mean())


def test_every_word_of_the_world_is_one_token_and_other_words_have_some() -> None:
    tokenizer = prior_text.make_tokenizer()
    for word in sorted(set(" ".join(vocabulary()).split())):
        assert len(tokenizer(word).input_ids) == 3, word
    for text in ("zebra", "雪だるま", "🍄"):
        ids = tokenizer(text).input_ids
        assert len(ids) > 3
        assert tokenizer.unk_token_id not in ids[1:-1]
    assert len(tokenizer) < 1000  # CLIP has 49408


def test_the_tokenizer_is_the_same_every_time_and_on_disk(tmp_path: Path) -> None:
    first, second = prior_text.make_tokenizer(), prior_text.make_tokenizer()
    assert first.get_vocab() == second.get_vocab()
    first.save_pretrained(tmp_path)
    again = type(first).from_pretrained(tmp_path)
    said = "a striped red cow, from sse, raised"
    assert again(said).input_ids == first(said).input_ids


def test_words_for_views_begin_as_neighbours() -> None:
    tokenizer = prior_text.make_tokenizer()
    table = prior_text.make_text_encoder(tokenizer).get_input_embeddings().weight.detach()

    def near(one: str, other: str) -> float:
        a, b = (table[tokenizer(word).input_ids[1]] for word in (one, other))
        return float(torch.cosine_similarity(a, b, dim=0))

    assert near("s", "sse") > near("s", "se") > near("s", "e") > near("s", "n")
    assert near("s", "n") == pytest.approx(-0.6, abs=1e-3)  # opposite, but not wholly: both show a long or a short side
    assert near("low", "level") > near("low", "high")
    assert abs(near("red", "blue")) < 0.3
