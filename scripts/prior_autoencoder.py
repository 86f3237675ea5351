"""The prior's autoencoder: an AutoencoderKL whose encoder is exactly linear, and whose decoder has to be learned.

Each patch of 4 x 4 pixels becomes the coordinates of its principal components. Nothing about such an encoder needs
training, its gradient is the same everywhere, and score distillation asks for nothing else; only looking at samples needs
the decoder. AutoencoderKL is no linear thing, so the weights are chosen to make it one:

- a residual block whose last convolution is zero passes on what it gets (through its 1 x 1 shortcut, if it has one);
- a convolution with stride 2 can put 2 x 2 pixels into channels;
- the normalisation at the end sees every component twice, with both signs, beside constants that are much larger: its mean
  is 0 and its deviation that of the constants;
- SiLU is the identity for large arguments, so 20 is added before and subtracted after it.
"""

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Tensor, nn

PATCH = 4
LATENT_CHANNELS = 12
CONSTANT = 100.0
SHIFT = 20.0


def make_autoencoder(components: Float[Tensor, "k 48"], mean: Float[Tensor, "48"]) -> AutoencoderKL:
    """Latents = components (patch - mean), patches in the order of `patches`, pixels in [-1, 1]."""
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 64, 32),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=64,
        mid_block_add_attention=False,
    )
    with torch.no_grad():
        _make_linear(vae, components, mean)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    return vae


def patches(pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 48 h4 w4"]:
    """Pixels of 4 x 4 in channels, as two steps of 2 x 2 make them."""
    for _ in range(2):
        b, c, h, w = pixels.shape
        split = pixels.reshape(b, c, h // 2, 2, w // 2, 2)
        pixels = split.permute(0, 3, 5, 1, 2, 4).reshape(b, 4 * c, h // 2, w // 2)
    return pixels


def principal_components(pixels: Float[Tensor, "b 3 64 64"]) -> tuple[Float[Tensor, "k 48"], Float[Tensor, "48"]]:
    """The first components of the patches, each scaled by one over the square root of its deviation.

    Halfway between keeping the deviations, where noise drowns all detail at once, and making them equal, where the last
    component would count as much as the first.
    """
    flat = patches(pixels).permute(0, 2, 3, 1).reshape(-1, 48).double()
    mean = flat.mean(0)
    values, vectors = torch.linalg.eigh((flat - mean).t() @ (flat - mean) / len(flat))
    values, vectors = values.flip(0)[:LATENT_CHANNELS], vectors.flip(1)[:, :LATENT_CHANNELS]
    components = vectors.t() / values.sqrt().sqrt()[:, None]
    return components.float(), mean.float()


def _make_linear(vae: AutoencoderKL, components: Tensor, mean: Tensor) -> None:
    encoder, k = vae.encoder, LATENT_CHANNELS
    _copy(encoder.conv_in, torch.eye(3))
    first, second, third = encoder.down_blocks
    for block in (first.resnets[0], second.resnets[0], third.resnets[0], *encoder.mid_block.resnets):
        nn.init.zeros_(block.conv2.weight)
        nn.init.zeros_(block.conv2.bias)
    _split(first.downsamplers[0].conv, 3)
    _copy(second.resnets[0].conv_shortcut, torch.eye(12))
    _split(second.downsamplers[0].conv, 12)
    half = (32 - 2 * k) // 2
    _copy(third.resnets[0].conv_shortcut, torch.cat([components, -components]))
    offset = components @ mean
    constants = torch.tensor([CONSTANT] * half + [-CONSTANT] * half)
    third.resnets[0].conv_shortcut.bias.copy_(torch.cat([-offset, offset, constants]))
    norm = encoder.conv_norm_out
    nn.init.constant_(norm.weight, CONSTANT * (2 * half / 32) ** 0.5)
    nn.init.constant_(norm.bias, SHIFT)
    _copy(encoder.conv_out, torch.eye(k))
    encoder.conv_out.bias[:k] = -SHIFT
    encoder.conv_out.bias[k:] = -20.0  # the logarithm of the variance: next to none
    _copy(vae.quant_conv, torch.eye(2 * k))


def _copy(convolution: nn.Conv2d, matrix: Float[Tensor, "o i"]) -> None:
    """The convolution applies this matrix to every pixel; channels beyond it are zero."""
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    middle = convolution.kernel_size[0] // 2
    convolution.weight[: matrix.shape[0], : matrix.shape[1], middle, middle] = matrix


def _split(convolution: nn.Conv2d, channels: int) -> None:
    """The convolution with stride 2 puts the pixels of each square of 2 x 2 into channels."""
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    for y in range(2):
        for x in range(2):
            begin = (2 * y + x) * channels
            convolution.weight[begin : begin + channels, :channels, y, x] = torch.eye(channels)
