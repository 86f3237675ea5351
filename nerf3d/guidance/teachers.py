"""Opening a teacher: any text-to-image pipeline that diffusers can save, from a folder, an alias or a hub id."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from nerf3d.errors import InputError
from nerf3d.guidance import hub
from nerf3d.guidance.codec import Latents, Pixels
from nerf3d.guidance.denoiser import Codec, Denoiser
from nerf3d.guidance.libraries import prepare
from nerf3d.guidance.networks import ConditionalUNet, FlowTransformer, Offloaded
from nerf3d.guidance.noise import NoiseSchedule, Prediction
from nerf3d.guidance.pipeline_folder import PipelineFolder
from nerf3d.guidance.text import CachedEncoder, TextEncoder
from nerf3d.guidance.text_encoders import PipelineText


@dataclass(frozen=True)
class TeacherOptions:
    """How a teacher is run."""

    size: int | None = None
    """Pictures are resized to this many pixels; null: what the teacher was trained with."""
    half: bool | None = None
    """Half precision of network and text encoder (never of the autoencoder). null: on a GPU, not on a CPU."""
    attention_slicing: bool = False
    """Attention in slices: less memory, more time."""
    cpu_offload: bool = False
    """The network waits on the CPU between its calls: less memory, more time."""
    trust_pickle: bool = False
    """Also read weights that are pickles. They can run code: only for files whose maker is trusted."""


@dataclass(frozen=True)
class Teacher:
    """A pretrained model that can judge, and the encoder of what it should be told."""

    denoiser: Denoiser
    encode: TextEncoder


def open_teacher(
    name: str | Path,
    device: torch.device | str = "cpu",
    options: TeacherOptions = TeacherOptions(),
    cache: Path | None = None,
) -> Teacher:
    """The teacher in a local folder of a diffusers pipeline, or behind an alias or a hub id (see hub.ALIASES).

    With `cache`, a folder, embedded prompts are kept there. Raises InputError for a pipeline that is incomplete, of an
    unknown kind, or not to be had.
    """
    device = torch.device(device)
    half = device.type == "cuda" if options.half is None else options.half
    if half and device.type == "cpu":
        raise InputError("half precision is for GPUs, on a CPU it is slower and coarser; leave it off")
    prepare()
    folder = PipelineFolder(_locate(name, half, options.trust_pickle), half, options.trust_pickle)
    kind = torch.float16 if half else torch.float32
    encoder = PipelineText(folder, device, kind)
    return Teacher(_denoiser(folder, device, kind, options), CachedEncoder(encoder, cache) if cache else encoder)


def _locate(name: str | Path, half: bool, trust_pickle: bool) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if isinstance(name, Path) or name.startswith((".", "/", "~")):
        raise InputError(f"{name} is not a folder; give that of a diffusers pipeline, which holds a model_index.json")
    hub.check_usable(name)
    if name not in hub.ALIASES and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise InputError(
            f"{name!r} is no teacher: neither a folder, nor a hub id (owner/name), nor an alias ({', '.join(hub.ALIASES)})"
        )
    return hub.fetch(name, half, trust_pickle)


def _denoiser(folder: PipelineFolder, device: torch.device, kind: torch.dtype, options: TeacherOptions) -> Denoiser:
    part = "transformer" if folder.kind("transformer") is not None else "unet"
    folder.need(part)
    for needed in ("scheduler", "tokenizer", "text_encoder"):  # noticed now, not after the large parts
        folder.need(needed)
    schedule, prediction = noise_schedule(folder)
    module: Any = folder.model(part, kind)
    if options.attention_slicing:
        if not hasattr(module, "set_attention_slice"):
            raise InputError(f"a {type(module).__name__} cannot slice its attention; leave attention slicing off")
        module.set_attention_slice("auto")
    codec, size = _codec(folder, module.config, device, options.size)
    network: ConditionalUNet | FlowTransformer
    if part == "unet":
        _check_unet(folder, module.config)
        network = ConditionalUNet(module, size)
    else:
        network = FlowTransformer(module)
    if options.cpu_offload:
        return Denoiser(Offloaded(network, device), codec, schedule.to(device), prediction)
    module.to(device)
    return Denoiser(network, codec, schedule.to(device), prediction)


def noise_schedule(folder: PipelineFolder) -> tuple[NoiseSchedule, Prediction]:
    """The noise levels that a pipeline's network was trained with, and what it predicts."""
    scheduler = folder.scheduler()
    if type(scheduler).__name__.startswith("FlowMatch"):
        steps = scheduler.config.num_train_timesteps
        s = scheduler.sigmas[:steps].flip(0).float()
        return NoiseSchedule.flow(s, s * steps), "flow"
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if not hasattr(scheduler, "alphas_cumprod") or prediction not in get_args(Prediction):
        raise InputError(
            f"{folder.path}: its scheduler, a {type(scheduler).__name__} for {prediction!r}, is neither a diffusion with "
            "discrete timesteps nor a flow; give another pipeline"
        )
    return NoiseSchedule.diffusion(scheduler.alphas_cumprod.float()), prediction


def _codec(folder: PipelineFolder, config: Any, device: torch.device, size: int | None) -> tuple[Codec, int]:
    """The codec, and the width of the teacher's pictures in pixels."""
    trained = config.sample_size if isinstance(config.sample_size, int) else None
    if trained is None and size is None:
        raise InputError(
            f"{folder.path}: the config of its network has no sample_size; say the pictures' size in pixels"
        )
    if folder.kind("vae") is None:
        if config.in_channels != 3:
            raise InputError(f"{folder.path}: there is no vae, and the unet takes {config.in_channels} channels, not 3")
        return Pixels(size or trained or 0), size or trained or 0
    autoencoder: Any = folder.model("vae", torch.float32).to(device)
    its = autoencoder.config
    if its.latent_channels != config.in_channels:
        raise InputError(
            f"{folder.path}: the network takes {config.in_channels} channels and the vae gives {its.latent_channels}, as in "
            "pipelines that fill holes or follow a picture; give one for text-to-image"
        )
    factor = 2 ** (len(its.block_out_channels) - 1)
    if size is not None and (size < factor or size % factor):
        raise InputError(f"pictures of {size} pixels do not suit this teacher; give a multiple of {factor}")
    pixels = size or factor * (trained or 0)
    return Latents(autoencoder, pixels, its.scaling_factor, getattr(its, "shift_factor", None) or 0.0), pixels


def _check_unet(folder: PipelineFolder, config: Any) -> None:
    """InputError for networks that want conditions beside the text: upscalers, followers of pictures."""
    unknown = {
        "class_embed_type": config.class_embed_type,
        "addition_embed_type": config.addition_embed_type,
        "encoder_hid_dim_type": config.encoder_hid_dim_type,
    }
    fine = {None, "text", "text_time", "text_proj"}
    for name, value in unknown.items():
        if value not in fine:
            raise InputError(
                f"{folder.path}: its unet has {name} {value!r}, beside the text; give one for text-to-image"
            )
