import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nerf3d.core.schedules import Constant
from nerf3d.errors import InputError
from nerf3d.guidance.csd import CSD
from nerf3d.guidance.prompts import ByView
from nerf3d.guidance.sds import SDS
from nerf3d.guidance.teachers import TeacherOptions, open_teacher
from nerf3d.guidance.timesteps import Timesteps
from nerf3d.guidance.vsd import VSD

Pipelines = Callable[[str], Path]
FAMILIES = ("sd", "sd_v", "sdxl", "if", "sd3", "sd3_without_t5")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_judges_pictures(family: str, pipelines: Pipelines, around, rng) -> None:
    teacher = open_teacher(str(pipelines(family)))
    guidance = SDS(scale=5.0).build(teacher.denoiser, ByView(style="perp_neg").build("a red cube", teacher.encode))
    images = torch.rand(2, 12, 12, 3, generator=rng, requires_grad=True)
    loss = guidance(images, around([20.0, 110.0]), 0.0, rng)["guidance"]
    loss.backward()
    assert images.grad.shape == images.shape
    assert torch.isfinite(images.grad).all()
    assert all(bool(one.abs().max() > 0) for one in images.grad)
    assert not any(p.requires_grad or p.grad is not None for p in teacher.denoiser.network.module.parameters())


def test_latents_are_those_of_the_pipeline(pipelines: Pipelines, rng) -> None:
    from diffusers import AutoencoderKL

    images = torch.rand(1, 16, 16, 3, generator=rng)
    for family, scale, shift in (("sd", 0.5, 0.0), ("sd3", 1.5, 0.06)):
        vae = AutoencoderKL.from_pretrained(pipelines(family) / "vae")
        with torch.no_grad():
            expected = (vae.encode(2 * images.permute(0, 3, 1, 2) - 1).latent_dist.mean - shift) * scale
        denoiser = open_teacher(pipelines(family)).denoiser
        torch.testing.assert_close(denoiser.encode(images), expected)
        torch.testing.assert_close(
            denoiser.codec.decode(expected),
            vae.decode(expected / scale + shift).sample.permute(0, 2, 3, 1).div(2).add(0.5).clamp(0, 1),
        )


def test_a_pixel_teacher_drops_the_variance_and_resizes(pipelines: Pipelines, rng) -> None:
    denoiser = open_teacher(pipelines("if")).denoiser
    x = denoiser.encode(torch.ones(1, 16, 16, 3))
    assert x.shape == (1, 3, 8, 8)
    torch.testing.assert_close(x, torch.ones_like(x))
    text = open_teacher(pipelines("if")).encode(["a cube"])
    t = torch.tensor([30])
    with torch.no_grad():
        raw = denoiser.network.module(x, t, encoder_hidden_states=text.tokens).sample
        assert raw.shape[1] == 6
        torch.testing.assert_close(denoiser.predict(x, t, text), raw[:, :3])


def test_predictions_are_turned_into_noise(pipelines: Pipelines, rng) -> None:
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel

    x = torch.randn(1, 4, 8, 8, generator=rng)
    t = torch.tensor([700])
    teacher = open_teacher(pipelines("sd_v"))
    text = teacher.encode(["a red cube"])
    with torch.no_grad():
        v = UNet2DConditionModel.from_pretrained(pipelines("sd_v") / "unet")(x, t, text.tokens).sample
        alpha_bar = DDIMScheduler.from_pretrained(pipelines("sd_v") / "scheduler").alphas_cumprod[700]
        expected = alpha_bar.sqrt() * v + (1 - alpha_bar).sqrt() * x
        torch.testing.assert_close(teacher.denoiser.predict(x, t, text), expected)

    flow = open_teacher(pipelines("sd3")).denoiser.schedule
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(pipelines("sd3") / "scheduler")
    assert flow.steps == 1000
    assert (flow.sigma.diff() > 0).all()
    torch.testing.assert_close(flow.time.flip(0), scheduler.timesteps)
    torch.testing.assert_close(flow.sigma[500], torch.tensor(3 * 0.501 / (1 + 2 * 0.501)))  # shift 3
    noise = torch.randn(x.shape, generator=rng)
    noisy = scheduler.scale_noise(x, scheduler.timesteps[299:300], noise)  # 999 - 299 = 700
    torch.testing.assert_close(flow.add_noise(x, noise, t), noisy)


def test_a_student_learns_inside_the_teacher(pipelines: Pipelines, around, rng) -> None:
    teacher = open_teacher(pipelines("sd"))
    prompts = ByView(style="none").build("a red cube", teacher.encode)
    cameras, images = around([0.0, 90.0]), torch.rand(2, 16, 16, 3, generator=rng)
    x, t, text = torch.randn(2, 4, 8, 8, generator=rng), torch.tensor([10, 500]), prompts(cameras).text
    with torch.no_grad():
        before = teacher.denoiser.predict(x, t, text)

    timesteps = Timesteps(Constant(0.3), Constant(0.6))
    vsd = VSD(scale=4.0, timesteps=timesteps, rank=2).build(teacher.denoiser, prompts, rng)
    with torch.no_grad():
        torch.testing.assert_close(vsd.student(x, t, text), before)  # nothing learnt yet
    # a student that knows no more than the teacher's answer to the prompt leaves the guidance alone: (s - 1) of CSD's
    grads = []
    for guidance in (vsd, CSD(timesteps=timesteps).build(teacher.denoiser, prompts)):
        leaf = images.clone().requires_grad_()
        guidance(leaf, cameras, 0.0, None)["guidance"].backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(grads[0], 3 * grads[1], rtol=1e-2, atol=1e-4)
    (group,) = vsd.players()["student"]
    assert len(group.parameters) == 2 * len(vsd.student.adaptation.layers) > 0
    optimizer = torch.optim.Adam(group.parameters, lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = vsd.study(images, cameras, 0.0, torch.Generator().manual_seed(3))["student"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]
    with torch.no_grad():
        assert (vsd.student(x, t, text) - before).abs().max() > 1e-3
        torch.testing.assert_close(teacher.denoiser.predict(x, t, text), before)  # the teacher is as it was
    assert {n.split(".")[1] for n in vsd.student.state_dict()} == {"down", "up"}


def test_options(pipelines: Pipelines, around, rng) -> None:
    images, cameras = torch.rand(1, 16, 16, 3, generator=rng), around([0.0])
    grads = []
    for options in (TeacherOptions(), TeacherOptions(attention_slicing=True, cpu_offload=True)):
        teacher = open_teacher(pipelines("sd"), options=options)
        leaf = images.clone().requires_grad_()
        prompts = ByView(style="words").build("a red cube", teacher.encode)
        SDS().build(teacher.denoiser, prompts)(leaf, cameras, 0.0, None)["guidance"].backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="CPU offload"):
        VSD().build(teacher.denoiser, prompts)
    assert open_teacher(pipelines("sd"), options=TeacherOptions(size=32)).denoiser.encode(images).shape[-1] == 16
    for options, sentence in (
        (TeacherOptions(size=17), "multiple of 2"),
        (TeacherOptions(half=True), "half precision is for GPUs"),
    ):
        with pytest.raises(InputError, match=sentence):
            open_teacher(pipelines("sd"), options=options)
    with pytest.raises(InputError, match="cannot slice"):
        open_teacher(pipelines("sd3"), options=TeacherOptions(attention_slicing=True))


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("model_index.json", "no model_index.json"),
        ("unet", "folder 'unet' is missing"),
        ("unet/diffusion_pytorch_model.safetensors", "unet: there are no weights"),
        ("unet/config.json", "unet/config.json is missing"),
        ("vae", "folder 'vae' is missing"),
        ("text_encoder", "folder 'text_encoder' is missing"),
        ("tokenizer", "folder 'tokenizer' is missing"),
        ("scheduler", "folder 'scheduler' is missing"),
    ],
)
def test_a_missing_part_is_named(part: str, sentence: str, pipelines: Pipelines, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pipelines("sd"), tmp_path / "broken"))
    (shutil.rmtree if (folder / part).is_dir() else Path.unlink)(folder / part)
    with pytest.raises(InputError, match=sentence):
        open_teacher(folder)


def test_what_cannot_be_used_is_refused(pipelines: Pipelines, tmp_path: Path) -> None:
    def altered(name: str, change: Callable[[dict], object], file: str = "model_index.json") -> Path:
        folder = Path(shutil.copytree(pipelines("sd"), tmp_path / name))
        data = json.loads((folder / file).read_text())
        change(data)
        (folder / file).write_text(json.dumps(data))
        return folder

    foreign = altered("foreign", lambda index: index.update(unet=["mv_unet", "MultiViewUNetModel"]))
    with pytest.raises(InputError, match="MultiViewUNetModel"):
        open_teacher(foreign)
    textless = altered("textless", lambda index: index.update(text_encoder=[None, None]))
    with pytest.raises(InputError, match="names no text_encoder"):
        open_teacher(textless)
    cut = altered("cut", lambda index: None)
    weights = cut / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"unet cannot be loaded"):
        open_teacher(cut)
    karras = altered("karras", lambda c: c.update(prediction_type="edm"), "scheduler/scheduler_config.json")
    with pytest.raises(InputError, match="neither a diffusion"):
        open_teacher(karras)
    lacking = altered("lacking", lambda index: None)
    from safetensors.torch import load_file, save_file

    file = lacking / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors.pop("conv_in.weight")
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(InputError, match=r"weights are missing \(conv_in.weight\)"):
        open_teacher(lacking)
    wide = altered("wide", lambda index: index.update(vae=[None, None]))
    with pytest.raises(InputError, match="takes 4 channels"):
        open_teacher(wide)


def test_pickles_are_refused_unless_trusted(pipelines: Pipelines, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = Path(shutil.copytree(pipelines("sd"), tmp_path / "pickled"))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(InputError, match=r"unet holds its weights as pickles only"):
        open_teacher(folder)
    trusted = open_teacher(folder, options=TeacherOptions(trust_pickle=True)).denoiser
    safe = open_teacher(pipelines("sd")).denoiser
    for mine, theirs in zip(trusted.network.module.parameters(), safe.network.module.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_names_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        open_teacher(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nor an alias \\(sd15"):
        open_teacher("stable diffusion please")
