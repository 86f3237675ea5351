"""Teachers whose answers are known exactly, and tiny random pipelines of every family, saved and opened again."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.core.cameras import look_at
from nerf3d.guidance.cfg import Conditions
from nerf3d.guidance.codec import Pixels
from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.libraries import prepare
from nerf3d.guidance.noise import NoiseSchedule
from nerf3d.guidance.text import Text

STEPS = 100
WORDS = ["a", "red", "blue", "cube", "mushroom", ",", "front", "side", "back", "overhead", "view"]


def diffusion() -> NoiseSchedule:
    beta = torch.linspace(1e-3, 0.08, STEPS, dtype=torch.float64)
    return NoiseSchedule.diffusion(torch.cumprod(1 - beta, 0).float())


def flow() -> NoiseSchedule:
    s = torch.arange(1, STEPS + 1) / (STEPS + 1)
    return NoiseSchedule.flow(s, s * STEPS)


class Gaussian:
    """Knows the pictures N(m, s^2 I), where a prompt is m and s: eps = sigma (x_t - alpha m) / (alpha^2 s^2 + sigma^2)."""

    def __init__(self, schedule: NoiseSchedule, kind: str) -> None:
        self.schedule, self.kind = schedule, kind

    def __call__(self, x_t: Tensor, time: Tensor, text: Text) -> Tensor:
        t = (self.schedule.time[None] - time[:, None]).abs().argmin(1)
        alpha, sigma = (table[t][:, None, None, None] for table in (self.schedule.alpha, self.schedule.sigma))
        m, s = (text.tokens[:, 0, i, None, None, None] for i in (0, 1))
        eps = sigma * (x_t - alpha * m) / (alpha**2 * s**2 + sigma**2)
        x = (x_t - sigma * eps) / alpha
        return {"epsilon": eps, "v_prediction": alpha * eps - sigma * x, "sample": x, "flow": eps - x}[self.kind]


def said(*pairs: tuple[float, float]) -> Text:
    """Prompts for `Gaussian`, as many as pairs of m and s."""
    return Text(torch.tensor(pairs)[:, None, :])


@pytest.fixture(name="said")
def _said() -> Callable[..., Text]:
    return said


@pytest.fixture
def schedules() -> dict[str, NoiseSchedule]:
    return {"diffusion": diffusion(), "flow": flow()}


@pytest.fixture
def gaussian() -> Callable[..., Denoiser]:
    """Makes a Gaussian's denoiser of 4 x 4 pixels, by what its network predicts."""

    def make(kind: str = "epsilon", schedule: NoiseSchedule | None = None) -> Denoiser:
        schedule = schedule or (flow() if kind == "flow" else diffusion())
        return Denoiser(Gaussian(schedule, kind), Pixels(4), schedule, kind)

    return make


@pytest.fixture
def prompts() -> Callable[..., Callable[[Cameras], Conditions]]:
    """Makes the prompts of `Gaussian` for any number of cameras: pictures around `m`, and not around `negative`."""

    def make(m: float = 0.5, s: float = 0.4, negative: float = -0.2, negative_s: float = 0.4):
        return lambda cameras: Conditions(
            said(*[(m, s)] * len(cameras)),
            said(*[(negative, negative_s)] * len(cameras)),
        )

    return make


@pytest.fixture
def around() -> Callable[..., Cameras]:
    """Cameras at azimuths and elevations in degrees, two units from the origin."""

    def make(azimuth: list[float], elevation: list[float] | float = 0.0) -> Cameras:
        a = torch.deg2rad(torch.tensor(azimuth))
        e = torch.deg2rad(torch.tensor(elevation).expand(len(azimuth)))
        eye = 2 * torch.stack([a.sin() * e.cos(), -a.cos() * e.cos(), e.sin()], -1)
        up = torch.tensor([0.0, 1e-3, 1.0])
        return Cameras.pinhole(look_at(eye, torch.zeros(3), up), 8.0, 8, 8)

    return make


# Tiny pipelines with random weights, one of each family that teachers.py opens.


def _clip_tokenizer():
    from transformers import CLIPTokenizer

    letters = [chr(c) for c in range(33, 127)]
    words = [f"{w}</w>" for w in WORDS]
    pieces = dict.fromkeys([*letters, *[f"{c}</w>" for c in letters], *words, "<|startoftext|>", "<|endoftext|>"])
    merges, known = [], set(pieces)
    for word in WORDS:
        left = word[0]
        for i, letter in enumerate(word[1:], 1):
            right = letter + ("</w>" if i == len(word) - 1 else "")
            if (left, right) not in merges:
                merges.append((left, right))
            left += right
            if left not in known:
                pieces[left] = None
                known.add(left)
    vocab = {piece: index for index, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=24)


def _clip_encoder(tokenizer, width: int, projected: bool):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def _t5(width: int):
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *[(f"▁{w}", -3.0) for w in WORDS]]
    vocab += [(c, -8.0) for c in "abcdefghijklmnopqrstuvwxyz,"]
    tokenizer = T5Tokenizer(vocab=vocab, extra_ids=0)
    config = T5Config(vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=2 * width, num_layers=1, num_heads=2)
    return tokenizer, T5EncoderModel(config).eval()


def _unet(channels: int, width: int, **more):
    from diffusers import UNet2DConditionModel

    settings = {
        "sample_size": 8,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": width,
    }
    return UNet2DConditionModel(**(settings | more)).eval()


def _vae(channels: int, **more):
    from diffusers import AutoencoderKL

    settings = {
        "block_out_channels": (8, 8),
        "norm_num_groups": 4,
        "latent_channels": channels,
        "sample_size": 16,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    }
    return AutoencoderKL(**(settings | more)).eval()


def _sd(prediction: str):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    tokenizer = _clip_tokenizer()
    return StableDiffusionPipeline(
        vae=_vae(4, scaling_factor=0.5),
        text_encoder=_clip_encoder(tokenizer, 16, projected=False),
        tokenizer=tokenizer,
        unet=_unet(4, 16),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", prediction_type=prediction, steps_offset=1, clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl():
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    tokenizer = _clip_tokenizer()
    unet = _unet(
        4,
        16 + 8,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=8 + 6 * 4,
    )
    return StableDiffusionXLPipeline(
        vae=_vae(4, scaling_factor=0.13),
        text_encoder=_clip_encoder(tokenizer, 16, projected=False),
        tokenizer=tokenizer,
        text_encoder_2=_clip_encoder(tokenizer, 8, projected=True),
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear"),
        add_watermarker=False,
    )


def _if():
    from diffusers import DDPMScheduler, IFPipeline

    tokenizer, encoder = _t5(16)
    unet = _unet(
        3,
        16,
        out_channels=6,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        encoder_hid_dim_type="text_proj",
        encoder_hid_dim=16,
        resnet_time_scale_shift="scale_shift",
    )
    return IFPipeline(
        tokenizer=tokenizer,
        text_encoder=encoder,
        unet=unet,
        scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range"),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


def _sd3(t5: bool = True):
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    tokenizer = _clip_tokenizer()
    tokenizer_3, encoder_3 = _t5(32)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=16 + 8,
        out_channels=4,
        pos_embed_max_size=8,
    ).eval()
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(4, scaling_factor=1.5, shift_factor=0.06),
        text_encoder=_clip_encoder(tokenizer, 16, projected=True),
        tokenizer=tokenizer,
        text_encoder_2=_clip_encoder(tokenizer, 8, projected=True),
        tokenizer_2=tokenizer,
        text_encoder_3=encoder_3 if t5 else None,
        tokenizer_3=tokenizer_3 if t5 else None,
    )


FAMILIES = {
    "sd": lambda: _sd("epsilon"),
    "sd_v": lambda: _sd("v_prediction"),
    "sdxl": _sdxl,
    "if": _if,
    "sd3": _sd3,
    "sd3_without_t5": lambda: _sd3(t5=False),
}


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny pipeline of one family, made when it is first asked for. Tests leave it as it is."""
    root = tmp_path_factory.mktemp("pipelines")

    def folder(family: str) -> Path:
        if not (root / family).exists():
            prepare()
            torch.manual_seed(0)
            FAMILIES[family]().save_pretrained(root / family)
        return root / family

    return folder


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)
