#!/usr/bin/env python
"""Train the evaluator, a small open_clip model, on pictures of the built-in world, and measure it on others.

    python scripts/train_evaluator.py --out build/evaluator                # the recipe of the evaluator in assets/
    python scripts/train_evaluator.py --out build/evaluator --steps 50     # a quick look at whether it runs

It never sees a picture of the prior, nor the prior one of its own: their worlds are drawn from different streams. Training
goes on where it was stopped and ends with the same weights on the same machine. The model is in OUT/model.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from evaluator_captions import Said, say_of_colored, say_of_sculpture
from evaluator_measure import measure
from evaluator_pictures import sculptures
from resumable import steps
from safetensors.torch import save_file
from torch import Tensor, nn
from world_pictures import Pictures, pictures

from nerf3d.console import say
from nerf3d.export.pictures import contact_sheet, write_picture
from nerf3d.metrics.clip import Evaluator
from nerf3d.torchvision_repair import import_torchvision

CONTEXT = 20
MODEL = {
    "embed_dim": 192,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 32, "head_width": 64},
    "text_cfg": {"context_length": CONTEXT, "width": 128, "heads": 4, "layers": 2, "hf_tokenizer_name": "own"},
}
MEAN, DEVIATION = 0.5, 0.25


@dataclass(frozen=True)
class Settings:
    out: Path
    colored: int
    uncolored: int
    steps: int
    batch: int
    rate: float
    seed: int
    threads: int
    minutes: float


def main() -> None:
    settings = _parse()
    torch.set_num_threads(settings.threads)
    colored = pictures(settings.out / "color", settings.colored, settings.seed, settings.threads)
    plain = sculptures(settings.out / "sculptures", settings.uncolored, settings.seed)
    model = train(settings, colored, plain)
    folder = write_model(settings.out / "model", model)
    measured = measure(Evaluator.open(folder), settings.seed + 1)
    (folder / "metrics.json").write_text(json.dumps(measured, indent=2) + "\n")
    say(json.dumps(measured, indent=2))


def tokenizer_of_the_world():
    """The prior's own, which is quick to make: every word of the world is one token."""
    import_torchvision()  # transformers uses torchvision where it is there, broken or not
    from prior_text import make_tokenizer

    return make_tokenizer()


def make_model(vocabulary: int) -> nn.Module:
    """open_clip's CLIP: a ResNet for pictures and a Transformer for texts."""
    import_torchvision()
    from open_clip.model import CLIP

    text = {k: v for k, v in MODEL["text_cfg"].items() if k != "hf_tokenizer_name"}
    return CLIP(MODEL["embed_dim"], MODEL["vision_cfg"], text | {"vocab_size": vocabulary})


def train(settings: Settings, colored: Pictures, plain: Pictures) -> nn.Module:
    """Four pictures in five have colours. The rate rises for 100 steps and then falls along a cosine."""
    torch.manual_seed(settings.seed)
    tokenizer = tokenizer_of_the_world()
    model = make_model(len(tokenizer))
    model.visual.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(_groups(model), lr=settings.rate, betas=(0.9, 0.98))
    rng = torch.Generator().manual_seed(settings.seed)
    state = {"model": model, "optimizer": optimizer, "rng": rng}
    losses: list[tuple[float, float]] = []
    model.train()
    for step, progress in steps(settings.out / "training", state, settings.steps, settings.minutes):
        images, said = _batch(settings, colored, plain, rng)
        x = varied(images, rng)
        texts = list(dict.fromkeys([s.own for s in said] + [s.false for s in said]))
        words = tokenizer(
            texts, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt"
        ).input_ids
        rate = settings.rate * min(1, (step + 1) / 100) * max(0.5 + 0.5 * math.cos(math.pi * progress), 0.01)
        for group in optimizer.param_groups:
            group["lr"] = rate
        # On a CPU the fused attention has a slow backward pass.
        with torch.autocast("cpu", torch.bfloat16), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            seen = model.encode_image(((x - MEAN) / DEVIATION).to(memory_format=torch.channels_last), normalize=True)
            read = model.encode_text(words, normalize=True)
        loss, right = contrast(seen.float() @ read.float().T * model.logit_scale.exp(), said, texts)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        losses.append((float(loss.detach()), right))
        if step % 100 == 99:
            mean = torch.tensor(losses[-100:]).mean(0).tolist()
            say(f"step {step + 1}: loss {mean[0]:.3f}, right {mean[1]:.3f}")
        if step % 1000 == 0:
            write_picture(_folder(settings.out / "sheets") / f"{step:05}.png", contact_sheet(list(_shown(x[:48])), 12))
    return model


def contrast(logits: Tensor, said: list[Said], texts: list[str]) -> tuple[Tensor, float]:
    """CLIP's loss in both directions where several texts are true of one picture, and one text of several pictures:
    what is true (or doubtful) beside a picture's own text is left out. `logits` (pictures texts).

    Also gives the share of pictures whose own text comes first.
    """
    column = {text: i for i, text in enumerate(texts)}
    own = torch.tensor([column[s.own] for s in said])
    out = torch.zeros(logits.shape, dtype=torch.bool)
    for row, s in enumerate(said):
        out[row, [column[text] for text in s.true | s.doubtful if text in column]] = True
    pictures_own = out.scatter(1, own[:, None], False)
    by_picture = logits.masked_fill(pictures_own, -torch.inf)
    across, here = logits[:, own].T, torch.arange(len(said))
    excused = out[:, own].T.clone()
    excused[here, here] = False
    by_text = across.masked_fill(excused, -torch.inf)
    loss = 0.5 * (F.cross_entropy(by_picture, own) + F.cross_entropy(by_text, here))
    return loss, float((by_picture.argmax(1) == own).float().mean())


def varied(images: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures (n 3 64 64) in [0, 1]: moved, made larger or smaller, half of them mirrored (no caption tells left from
    right), now and then blurred as a radiance field would, lighter or darker, more or less saturated; all so little that
    colours keep their names.
    """
    n = len(images)
    scale = 0.85 + 0.35 * torch.rand(n, generator=rng)
    move = 0.16 * (torch.rand(n, 2, generator=rng) - 0.5)
    theta = torch.zeros(n, 2, 3)
    mirrored = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0)
    theta[:, 0, 0], theta[:, 1, 1] = mirrored * scale, scale
    theta[:, :, 2] = move
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    x = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    soft, width = torch.rand(2, n, generator=rng)
    index = torch.nonzero(soft < 0.4)[:, 0]
    x[index] = blurred(x[index], 0.3 + 1.3 * width[index])
    grey = x.mean(1, keepdim=True)
    chance = torch.rand(n, 6, generator=rng) - 0.5
    x = grey + (x - grey) * (1 + 0.4 * chance[:, 0, None, None, None])
    x = 0.5 + (x - 0.5) * (1 + 0.3 * chance[:, 1, None, None, None]) + 0.12 * chance[:, 2, None, None, None]
    x = x * (1 + 0.08 * chance[:, 3:, None, None])
    return (x + 0.02 * torch.randn(x.shape, generator=rng)).clamp(0, 1)


def blurred(images: Tensor, width: Tensor) -> Tensor:
    """Gaussian blur with a standard deviation in pixels for each picture."""
    offset = torch.arange(-4.0, 5.0)
    kernel = torch.softmax(-0.5 * (offset / width[:, None]) ** 2, -1)
    n, c, h, w = images.shape
    flat = images.reshape(1, n * c, h, w)
    each = kernel.repeat_interleave(c, 0)[:, None]
    flat = F.conv2d(F.pad(flat, (4, 4, 0, 0), mode="replicate"), each[:, :, None, :], groups=n * c)
    flat = F.conv2d(F.pad(flat, (0, 0, 4, 4), mode="replicate"), each[:, :, :, None], groups=n * c)
    return flat.reshape(n, c, h, w)


def write_model(folder: Path, model: nn.Module) -> Path:
    """A folder that `open_clip.create_model_from_pretrained("local-dir:FOLDER")` reads; weights in half precision."""
    tokenizer = tokenizer_of_the_world()
    tokenizer.save_pretrained(_folder(folder))
    config = json.loads(json.dumps(MODEL))
    config["text_cfg"]["vocab_size"] = len(tokenizer)
    statistics = {"size": [64, 64], "mean": [MEAN] * 3, "std": [DEVIATION] * 3, "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": statistics}, indent=2) + "\n"
    )
    weights = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    return folder


def _batch(settings: Settings, colored: Pictures, plain: Pictures, rng: torch.Generator) -> tuple[Tensor, list[Said]]:
    few = settings.batch // 5
    first = torch.randint(len(colored.texts), (settings.batch - few,), generator=rng)
    second = torch.randint(len(plain.texts), (few,), generator=rng)
    said = [
        say_of(world.texts[i], float(world.azimuth[i]), float(world.elevation[i]), rng)
        for world, index, say_of in ((colored, first, say_of_colored), (plain, second, say_of_sculpture))
        for i in index.tolist()
    ]
    images = torch.cat([colored.images[first], plain.images[second]])
    return images.permute(0, 3, 1, 2).float() / 255, said


def _groups(model: nn.Module) -> list[dict]:
    """Matrices and kernels decay, all else does not."""
    decaying = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decaying, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]


def _shown(x: Tensor) -> Tensor:
    return (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _parse() -> Settings:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where pictures, checkpoints and the model go")
    parser.add_argument("--colored", type=int, default=24576, help="pictures of the world as it is")
    parser.add_argument("--uncolored", type=int, default=10240, help="pictures of sculptures")
    parser.add_argument("--steps", type=int, default=14000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end the training after so long")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=2, help="not the prior's: its world must be another one")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    return Settings(
        given.out, given.colored, given.uncolored, given.steps, given.batch, given.rate, given.seed, given.threads,
        given.minutes,
    )  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped and saved; the same command goes on from here")
