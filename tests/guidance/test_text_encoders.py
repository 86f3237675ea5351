from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.guidance.pipeline_folder import PipelineFolder
from nerf3d.guidance.text_encoders import PipelineText

Pipelines = Callable[[str], Path]
PROMPTS = ["a red cube, side view", "a blue mushroom", "Ein Würfel 🐄 方块"]


def encoder(folder: Path) -> PipelineText:
    return PipelineText(PipelineFolder(folder), torch.device("cpu"), torch.float32)


def opened(folder: Path):
    """The whole pipeline as the library itself opens it."""
    import diffusers

    without = {"text_encoder_3": None, "tokenizer_3": None} if folder.name == "sd3_without_t5" else {}
    return diffusers.DiffusionPipeline.from_pretrained(folder, **without)


@pytest.mark.parametrize("family", ["sd", "if", "sdxl", "sd3", "sd3_without_t5"])
def test_embeddings_are_those_of_the_pipeline(family: str, pipelines: Pipelines) -> None:
    folder = pipelines(family)
    found = encoder(folder)([*PROMPTS, ""])
    pipe = opened(folder)
    for index, prompt in enumerate(PROMPTS):
        pooled = None
        with torch.no_grad():
            if family in ("sd", "if"):
                device = {"device": "cpu"} | ({"num_images_per_prompt": 1} if family == "sd" else {})
                tokens, empty = pipe.encode_prompt(prompt, do_classifier_free_guidance=True, **device)
            elif family == "sdxl":
                tokens, empty, pooled, _ = pipe.encode_prompt(prompt, device="cpu", do_classifier_free_guidance=True)
            else:
                tokens, empty, pooled, _ = pipe.encode_prompt(prompt, None, None, device="cpu")
        torch.testing.assert_close(found.tokens[index], tokens[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.tokens[-1], empty[0], rtol=1e-4, atol=1e-4)
        assert (pooled is None) == (found.pooled is None)
        if pooled is not None:
            torch.testing.assert_close(found.pooled[index], pooled[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found.tokens[0], found.tokens[1])


def test_an_embedding_does_not_depend_on_its_neighbours(pipelines: Pipelines) -> None:
    encode = encoder(pipelines("sdxl"))
    assert torch.equal(encode(PROMPTS).tokens[1:2], encode(PROMPTS[1:2]).tokens)


def test_too_many_words_are_refused(pipelines: Pipelines) -> None:
    """Cutting them off would cut off the words for the view, which stand last."""
    long = "a red cube " * 700
    for family, most in (("sd", 24), ("sdxl", 24), ("if", 77), ("sd3", 256), ("sd3_without_t5", 24)):
        with pytest.raises(InputError, match=rf"tokens, and this teacher reads {most} at most"):
            encoder(pipelines(family))(["a cube", long])
    middling = "a red cube " * 20  # too much for CLIP, which T5 makes up for
    assert encoder(pipelines("sd3"))([middling]).tokens.shape[1] == 24 + 256


def test_the_identity_is_of_the_weights(pipelines: Pipelines, tmp_path: Path) -> None:
    import shutil

    one, moved = encoder(pipelines("sd")), encoder(Path(shutil.copytree(pipelines("sd"), tmp_path / "moved")))
    assert one.identity == moved.identity
    file = tmp_path / "moved" / "text_encoder" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert encoder(tmp_path / "moved").identity != one.identity
    assert encoder(pipelines("sdxl")).identity != one.identity
