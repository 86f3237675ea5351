import json
from pathlib import Path

import pytest
import torch

from nerf3d.data.sound_features import sound_windows, steps_of
from nerf3d.data.speech_model import SpeechModel
from nerf3d.errors import InputError
from nerf3d.guidance.libraries import prepare

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}


@pytest.fixture(params=["hubert", "wav2vec2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model of that family with chance weights."""
    prepare()
    from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = (
            HubertModel(HubertConfig(**TINY)) if request.param == "hubert" else Wav2Vec2Model(Wav2Vec2Config(**TINY))
        )
    model.save_pretrained(tmp_path / request.param)
    return tmp_path / request.param


def test_a_local_model_hears(folder: Path) -> None:
    model = SpeechModel(folder)
    assert (model.kind.name, model.kind.channels, len(model.kind.weights)) == (folder.name, 16, 12)
    sound = torch.randn(10_000, generator=torch.Generator().manual_seed(0)) * 0.1
    windows = sound_windows(sound, model)
    assert windows.shape == (16, 16, 16)
    assert bool(windows.isfinite().all())
    assert torch.equal(windows, sound_windows(sound, SpeechModel(folder)))
    pieces = torch.cat(list(steps_of(sound.split(999), model)))
    assert torch.equal(pieces, torch.cat(list(steps_of([sound], model))))


def test_what_is_no_such_model_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no speech model"):
        SpeechModel(tmp_path / "nothing")
    weights = folder / "model.safetensors"
    cut = weights.read_bytes()[:1000]
    weights.write_bytes(cut)
    with pytest.raises(InputError, match="no usable"):
        SpeechModel(folder)
    weights.unlink()
    with pytest.raises(InputError, match=r"no model.safetensors"):
        SpeechModel(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="hubert or wav2vec2"):
        SpeechModel(folder)
