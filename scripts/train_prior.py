#!/usr/bin/env python
"""Train the embedded text-to-image prior on pictures of the built-in world, and write it as a diffusers pipeline.

    python scripts/train_prior.py --out build/prior                 # the recipe of the prior in assets/
    python scripts/train_prior.py --out build/prior --steps 200     # a quick look at whether it runs

Four stages: render the world, train the decoder of a small VAE, teach the text encoder shapes, train it and the UNet on
the VAE's latents. Each goes on where it was stopped and ends with the same weights on the same machine. Look at OUT/sheets
on the way. The last stage, nearly all of the time, several processes can share, each with a batch of its own, once the
others are done:

    torchrun --nproc-per-node 2 scripts/train_prior.py --out build/prior
"""

import argparse
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import repaired  # noqa: F401

# isort: split
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from muon import Muon, split
from prior_autoencoder import LATENT_CHANNELS, make_autoencoder, principal_components
from prior_shapes import FRONTS, Lessons, asked, lessons, make_reader
from prior_text import MAX_LENGTH, make_text_encoder, make_tokenizer
from resumable import steps
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer
from world_pictures import Pictures, pictures

from nerf3d.assets import NOTE
from nerf3d.checkpoint import load_latest
from nerf3d.console import say
from nerf3d.data.world.captions import understand
from nerf3d.data.world.nouns import named
from nerf3d.export.pictures import contact_sheet, write_picture
from nerf3d.ranks import Ranks, count, joined, leads

CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
LESSON = 0.1
"""The weight of what the text encoder is asked on the way, lest it forget."""
SHEET = (
    "a red cow, from s, level", "a red cow, from e, level", "a red cow, from n, level", "a blue mushroom, from s, raised",
    "a green teapot, from w, level", "a yellow chair with blue legs, from sse, raised", "a striped pink cone, front view",
    "a checkered white cube, side view", "a shiny black sphere", "a red cube on top of a blue cylinder, from s, level",
    "a green heart next to a purple star, front view", "an orange car, from sse, raised",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    out: Path
    pictures: int
    decoder_steps: int
    lesson_steps: int
    steps: int
    batch: int
    rate: float
    seed: int
    processes: int
    init: Path | None
    minutes: float


def main() -> None:
    settings = _parse()
    if count() > 1 and not _prepared(settings):
        sys.exit(
            "train_prior: the stages before the last are one process's; run this without torchrun until the UNet's turn"
        )
    torch.set_num_threads(max(settings.processes // count(), 1))
    world = pictures(settings.out / "world", settings.pictures, settings.seed, settings.processes)
    vae = train_autoencoder(settings, world)
    latents = encode_all(settings, vae, world)
    with joined(torch.device("cpu")) as ranks:
        train_unet(settings, world, vae, latents, ranks)


def _prepared(settings: Settings) -> bool:
    """Whether nothing is left to do before the UNet's training."""
    lessons = load_latest(settings.out / "lessons")
    done = lessons is not None and lessons.step >= settings.lesson_steps
    return done and (settings.out / "latents.safetensors").is_file()


def train_autoencoder(settings: Settings, world: Pictures) -> AutoencoderKL:
    """The encoder is computed from the pictures' patches; its decoder, for looking at samples, is trained."""
    if settings.init is not None:
        return AutoencoderKL.from_pretrained(settings.init / "vae").float()
    torch.manual_seed(settings.seed)
    some = torch.arange(0, len(world.texts), max(len(world.texts) // 4096, 1))
    vae = make_autoencoder(*principal_components(_pixels(world, some)))
    vae.register_to_config(scaling_factor=1 / float(vae.encode(_pixels(world, some[:512])).latent_dist.mean.std()))
    vae.to(memory_format=torch.channels_last)
    learning = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    optimizer = torch.optim.AdamW(learning, lr=2e-3, betas=(0.9, 0.99), weight_decay=0.0)
    rng = torch.Generator().manual_seed(settings.seed)
    state = {"model": vae, "optimizer": optimizer, "rng": rng}
    for step, progress in steps(settings.out / "decoder", state, settings.decoder_steps, math.inf):
        pixels = _pixels(world, torch.randint(len(world.texts), (32,), generator=rng))
        _set_rate(optimizer, 2e-3 * min(1, (step + 1) / 100) * max(1 - progress, 0.02))
        with torch.no_grad():
            z = vae.encode(pixels).latent_dist.mean
        with torch.autocast("cpu", torch.bfloat16):
            again = vae.decode(z).sample.float()
        optimizer.zero_grad(set_to_none=True)
        ((again - pixels).abs().mean() + (again - pixels).square().mean()).backward()
        optimizer.step()
        if step % 250 == 249:
            both = torch.stack([pixels[:16], again[:16].detach()], 1).flatten(0, 1)
            _sheet(settings, f"decoder_{step + 1:05}", both)
            say(f"decoder step {step + 1}: {-10 * math.log10(float((again - pixels).square().mean()) / 4):.1f} dB")
    return vae


@torch.no_grad()
def encode_all(settings: Settings, vae: AutoencoderKL, world: Pictures) -> Tensor:
    """The means of all pictures' latents, scaled to unit deviation as the VAE's config then says."""
    file = settings.out / "latents.safetensors"
    if file.is_file() and len(latents := load_file(file)["latents"]) == len(world.texts):
        return latents
    vae.eval()
    say("encoding the pictures, a few minutes")
    parts = [vae.encode(_pixels(world, i)).latent_dist.mean.half() for i in torch.arange(len(world.texts)).split(64)]
    latents = (torch.cat(parts) * vae.config.scaling_factor).contiguous()
    save_file({"latents": latents}, file)
    return latents


def teach(settings: Settings, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, taught: Lessons) -> nn.Linear:
    """Let the text encoder learn what things look like from where, before any picture; gives what reads it there."""
    torch.manual_seed(settings.seed + 2)
    reader = make_reader(encoder.config.hidden_size)
    both = nn.ModuleDict({"encoder": encoder, "reader": reader})
    muon, adam = optimizers(both, 1e-3)
    rng = torch.Generator().manual_seed(settings.seed + 2)
    state = {"model": both, "muon": muon, "adam": adam, "rng": rng}
    for step, progress in steps(settings.out / "lessons", state, settings.lesson_steps, math.inf):
        loss = asked(taught, encoder, reader, tokenizer, 128, rng)
        loss.backward()
        _update([muon, adam], 1e-3 * min(1, (step + 1) / 50, 1.02 - progress))
        if step % 250 == 249:
            say(f"lesson {step + 1}: {float(loss.detach()):.3f} of the shapes not known")
    return reader


def optimizers(model: nn.Module, rate: float) -> tuple[Muon, torch.optim.AdamW]:
    hidden, rest = split(model)
    return Muon(hidden, rate), torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)


def train_unet(settings: Settings, world: Pictures, vae: AutoencoderKL, latents: Tensor, ranks: Ranks) -> None:
    """v-prediction (Salimans & Ho 2022) with the cosine schedule; one caption in ten is empty, for guidance."""
    torch.manual_seed(settings.seed + 1)
    again = settings.init is not None
    tokenizer = CLIPTokenizer.from_pretrained(settings.init / "tokenizer") if again else make_tokenizer()
    text_encoder = make_text_encoder(tokenizer)
    unet = make_unet()
    if settings.init is not None:
        begin_with(unet, UNet2DConditionModel.from_pretrained(settings.init / "unet").float())
        text_encoder.load_state_dict(type(text_encoder).from_pretrained(settings.init / "text_encoder").state_dict())
    taught = lessons(settings.out / "shapes.safetensors")
    reader = teach(settings, text_encoder, tokenizer, taught)
    model = nn.ModuleDict({"unet": unet, "text_encoder": text_encoder, "reader": reader})
    unet.set_attn_processor(AttnProcessor())  # on a CPU faster than the fused one, whose backward pass is slow
    unet.to(memory_format=torch.channels_last)
    mean = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999))
    scheduler = make_scheduler()
    alpha_bar = scheduler.alphas_cumprod
    muon, adam = optimizers(model, settings.rate)
    often = torch.tensor([_often(text) for text in world.texts])
    rng = torch.Generator().manual_seed(settings.seed + 1)
    state = {"model": model, "mean": mean, "muon": muon, "adam": adam, "rng": rng}
    losses: list[float] = []
    for step, progress in steps(settings.out / "unet", state, settings.steps, settings.minutes, ranks):
        index = torch.multinomial(often, settings.batch, replacement=True, generator=rng)
        captions = [world.caption(int(i), rng) for i in index]
        empty = torch.rand(settings.batch, generator=rng) < 0.1
        words = tokenizer(
            ["" if e else c for c, e in zip(captions, empty, strict=True)],
            padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt",
        ).input_ids  # fmt: skip
        x = latents[index].float()
        noise = torch.randn(x.shape, generator=rng)
        # What words decide is decided in much noise: large t more often.
        t = (1000 * torch.rand(settings.batch, generator=rng).sqrt()).long()
        alpha, sigma = alpha_bar[t].sqrt()[:, None, None, None], (1 - alpha_bar[t]).sqrt()[:, None, None, None]
        noisy = (alpha * x + sigma * noise).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            text = text_encoder(words).last_hidden_state
            predicted = unet(noisy, t, text).sample.float()
        loss = F.mse_loss(predicted, alpha * noise - sigma * x)
        (loss + LESSON * asked(taught, text_encoder, reader, tokenizer, 32, rng)).backward()
        ranks.average(model.parameters())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        _update([muon, adam], settings.rate * min(1, (step + 1) / 100, 1.02 - progress))
        mean.update_parameters(model)
        losses.append(float(loss.detach()))
        if leads() and (step % 500 == 499 or progress >= 1):
            say(f"unet step {step + 1}: loss {sum(losses[-500:]) / len(losses[-500:]):.4f}")
            pipe = write_pipeline(settings.out / "pipeline", vae, mean.module, tokenizer)
            _sheet(settings, f"unet_{step + 1:06}", sample(pipe, list(SHEET), settings.seed))
    if leads():
        write_pipeline(settings.out / "pipeline", vae, mean.module, tokenizer)


def make_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(64, 128, 192),
        down_block_types=(PLAIN, CROSS, CROSS),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=32,
        cross_attention_dim=192,
        norm_num_groups=16,
        addition_embed_type="text",  # the whole caption also goes wherever the time goes: shapes are learned sooner
        addition_embed_type_num_heads=6,
    )


def begin_with(unet: UNet2DConditionModel, other: UNet2DConditionModel) -> None:
    """Take over another network's weights. One that has no road for the whole caption gets one that says nothing yet."""
    missing, unexpected = unet.load_state_dict(other.state_dict(), strict=False)
    assert not unexpected, unexpected
    assert all(name.startswith("add_embedding.") for name in missing), missing
    if missing:
        nn.init.zeros_(unet.add_embedding.norm2.weight)
        nn.init.zeros_(unet.add_embedding.norm2.bias)


def make_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        steps_offset=1,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )


def write_pipeline(folder: Path, vae: AutoencoderKL, model: nn.ModuleDict, tokenizer) -> StableDiffusionPipeline:
    """A standard Stable Diffusion folder in half precision; gives the pipeline back in single precision."""
    import copy

    pipe = StableDiffusionPipeline(
        vae=copy.deepcopy(vae),
        text_encoder=copy.deepcopy(model["text_encoder"]),
        tokenizer=tokenizer,
        unet=copy.deepcopy(model["unet"]),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16)
    pipe.save_pretrained(folder, safe_serialization=True)
    (folder / NOTE).write_text(json.dumps({"trained_by": "scripts/train_prior.py"}) + "\n")
    pipe.to(torch.float32)
    return pipe


@torch.no_grad()
def sample(pipe: StableDiffusionPipeline, captions: list[str], seed: int) -> Tensor:
    """Pictures in [-1, 1] for a look at how far the training has come."""
    pipe.set_progress_bar_config(disable=True)
    rng = torch.Generator().manual_seed(seed)
    out = pipe(captions * 2, num_inference_steps=25, guidance_scale=5.0, generator=rng, output_type="pt").images
    return out * 2 - 1


def _often(text: str) -> float:
    """How often a picture is drawn: one of an object with a front more often, as it teaches what the others do not."""
    said = understand(text)
    return FRONTS if said is not None and said.second is None and named(said.first.noun).has_front else 1.0


def _update(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        _set_rate(optimizer, rate)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _pixels(world: Pictures, index: Tensor) -> Tensor:
    """Pictures (n 3 64 64) in [-1, 1]."""
    return world.images[index].permute(0, 3, 1, 2).float() / 127.5 - 1


def _sheet(settings: Settings, name: str, images: Tensor) -> None:
    (settings.out / "sheets").mkdir(exist_ok=True)
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    write_picture(settings.out / "sheets" / f"{name}.png", contact_sheet(list(pixels), 12))


def _parse() -> Settings:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where pictures, checkpoints and the pipeline go")
    parser.add_argument("--pictures", type=int, default=81920)
    parser.add_argument("--decoder-steps", type=int, default=3000)
    parser.add_argument("--lesson-steps", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=40000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end the UNet's training after so long")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=7e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--init", type=Path, default=None, help="a pipeline folder to start from instead of noise")
    given = parser.parse_args()
    return Settings(
        given.out, given.pictures, given.decoder_steps, given.lesson_steps, given.steps, given.batch, given.rate,
        given.seed, given.processes, given.init, given.minutes,
    )  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped and saved; the same command goes on from here")
