"""tiny-cuda-nn in small, on a CPU: what its torch bindings do with inputs, parameters and gradients, in plain torch.

Written after its source (github.com/NVlabs/tiny-cuda-nn, versions 1.6 and 1.7), named at each part, so that what is wrong in
our use of it is wrong here too: it refuses what its checks refuse, rounds where it rounds and fills up what it fills up.
`calls` counts what was asked of it.
"""

import math
from collections import Counter
from typing import Any

import torch
from torch import Tensor

GRANULARITY = 256
"""tcnn::batch_size_granularity, include/tiny-cuda-nn/common.h."""
calls: Counter[str] = Counter()

Config = dict[str, Any]


class Grid:
    """GridEncodingTemplated, include/tiny-cuda-nn/encodings/grid.h, for positions in three dimensions."""

    def __init__(self, config: Config, precision: torch.dtype) -> None:
        self.features, self.precision = config.get("n_features_per_level", 2), precision
        if self.features not in (1, 2, 4, 8):
            raise RuntimeError("GridEncoding: n_features_per_level must be 1, 2, 4, or 8.")
        self.log2_scale, self.base = math.log2(config.get("per_level_scale", 2.0)), config.get("base_resolution", 16)
        self.levels = config.get("n_levels", 16)
        self.inputs, self.outputs = 3, self.levels * self.features
        self.offsets = [0]
        for level in range(self.levels):
            filled = -(-(self.resolution(level) ** 3) // 8) * 8  # next_multiple(params_in_level, 8u)
            self.offsets.append(self.offsets[-1] + min(filled, 1 << config.get("log2_hashmap_size", 19)))
        self.parameters = self.offsets[-1] * self.features

    def scale(self, level: int) -> float:
        return 2.0 ** (level * self.log2_scale) * self.base - 1.0

    def resolution(self, level: int) -> int:
        return math.ceil(self.scale(level)) + 1

    def index(self, corner: Tensor, level: int) -> Tensor:
        """grid_index: strides of the resolution, as far as they fit; else the hash; and in any case the remainder."""
        size, resolution = self.offsets[level + 1] - self.offsets[level], self.resolution(level)
        stride, index = 1, torch.zeros_like(corner[:, 0])
        for dim in range(3):
            if stride > size:
                break
            index = index + corner[:, dim] * stride
            stride *= resolution
        if size < stride:  # GridType::Hash; coherent_prime_hash, in 32 bits
            primes = (1, 2654435761, 805459861)
            index = torch.zeros_like(index)
            for dim in range(3):
                index = index ^ (corner[:, dim] * primes[dim] & 0xFFFFFFFF)
        return self.offsets[level] + index % size

    def corners(self, x: Tensor, level: int):  # type: ignore[no-untyped-def]
        """pos_fract, and the eight corners of a cell: (row, weight, its derivative with respect to x)."""
        position = x * self.scale(level) + 0.5
        cell = position.floor().long()
        fraction = position - cell
        for corner in range(8):
            far = torch.tensor([corner >> dim & 1 for dim in range(3)])
            along = torch.where(far > 0, fraction, 1 - fraction)
            slope = (2 * far - 1) * self.scale(level)
            turned = [along[:, (d + 1) % 3] * along[:, (d + 2) % 3] * slope[d] for d in range(3)]
            yield self.index(cell + far, level), along.prod(-1), torch.stack(turned, -1)

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Any, Tensor]:
        """kernel_grid."""
        rows = parameters.view(-1, self.features)
        parts = []
        for level in range(self.levels):
            result = torch.zeros(len(x), self.features, dtype=self.precision)
            for row, weight, _ in self.corners(x, level):
                result = result + weight.to(self.precision)[:, None] * rows[row]
            parts.append(result)
        return x, torch.cat(parts, -1)

    def backward(self, kept: Any, parameters: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """kernel_grid_backward and kernel_grid_backward_input."""
        x, rows = kept, parameters.view(-1, self.features)
        dx, drows = torch.zeros_like(x), torch.zeros_like(rows)
        for level in range(self.levels):
            own = gradient[:, level * self.features : (level + 1) * self.features]
            for row, weight, slope in self.corners(x, level):
                drows.index_add_(0, row, weight.to(self.precision)[:, None] * own)
                dx += (own.float() * rows[row].float()).sum(-1, keepdim=True) * slope
        return dx, drows.view(-1)


class Composite:
    """CompositeEncoding, include/tiny-cuda-nn/encodings/composite.h, which joins what is nested in it."""

    def __init__(self, config: Config, inputs: int, precision: torch.dtype) -> None:
        self.nested = [Grid(nested, precision) for nested in config["nested"]]
        if sum(nested["n_dims_to_encode"] for nested in config["nested"]) > inputs:
            raise RuntimeError("CompositeEncoding: nested encodings must not encode more dims than composite")
        self.inputs, self.precision = inputs, precision
        self.outputs = sum(nested.outputs for nested in self.nested)
        self.parameters = sum(nested.parameters for nested in self.nested)

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Any, Tensor]:
        pairs = zip(self.nested, self.split(x, "inputs"), self.split(parameters, "parameters"))
        kept, outputs = zip(*(nested.forward(*given) for nested, *given in pairs))
        return kept, torch.cat(outputs, -1)

    def backward(self, kept: Any, parameters: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        parts = (kept, self.split(parameters, "parameters"), self.split(gradient, "outputs"))
        dx, dparameters = zip(*(nested.backward(*given) for nested, *given in zip(self.nested, *parts)))
        return torch.cat(dx, -1), torch.cat(dparameters)

    def split(self, whole: Tensor, what: str) -> tuple[Tensor, ...]:
        return whole.split([getattr(nested, what) for nested in self.nested], -1)


class Fused:
    """FullyFusedMLP, src/fully_fused_mlp.cu, behind an IdentityEncoding, encodings/identity.h (create_network)."""

    precision = torch.float16

    def __init__(self, inputs: int, outputs: int, config: Config) -> None:
        width, hidden = config["n_neurons"], config["n_hidden_layers"]
        if width not in (16, 32, 64, 128) or hidden < 1:
            raise RuntimeError(f"FullyFusedMLP only supports 16, 32, 64, and 128 neurons, but got {width}.")
        assert (config["otype"], config["activation"], config["output_activation"]) == ("FullyFusedMLP", "ReLU", "None")
        self.inputs, self.columns = inputs, -(-inputs // 16) * 16
        self.outputs = -(-outputs // 16) * 16  # m_padded_output_width
        self.shapes = [(width, self.columns), *[(width, width)] * (hidden - 1), (self.outputs, width)]
        self.parameters = sum(rows * columns for rows, columns in self.shapes)

    def layers(self, parameters: Tensor) -> list[Tensor]:
        """set_params_impl: row after row, as GPUMatrix<T, RM>."""
        parts = parameters.split([rows * columns for rows, columns in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes)]

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Any, Tensor]:
        h = torch.nn.functional.pad(
            x, (0, self.columns - self.inputs), value=1.0
        ).half()  # the identity is filled with 1
        kept = [h]
        *hidden, last = self.layers(parameters)
        for weight in hidden:
            h = (h.float() @ weight.float().t()).half().relu()
            kept.append(h)
        return kept, (h.float() @ last.float().t()).half()

    def backward(self, kept: Any, parameters: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        found = []
        for weight, h in zip(reversed(self.layers(parameters)), reversed(kept)):
            found.append((gradient.float().t() @ h.float()).half().view(-1))
            gradient = (gradient.float() @ weight.float()).half()
            if h is not kept[0]:  # warp_activation_backward
                gradient = gradient * (h > 0)
        return gradient[:, : self.inputs].float(), torch.cat(found[::-1])


Native = Composite | Fused


class _Function(torch.autograd.Function):
    """_module_function, bindings/torch/tinycudann/modules.py, and Module::fwd and bwd, bindings.cpp, with their checks."""

    @staticmethod
    def forward(ctx, native: Native, x: Tensor, parameters: Tensor, loss_scale: float) -> Tensor:
        assert x.dtype == torch.float32
        assert parameters.dtype == native.precision
        assert x.shape[1] == native.inputs
        assert parameters.shape == (native.parameters,)
        assert len(x) % GRANULARITY == 0
        calls["forward" if x.requires_grad or parameters.requires_grad else "inference"] += 1
        ctx.native, ctx.loss_scale, ctx.parameters = native, loss_scale, parameters
        ctx.kept, output = native.forward(x, parameters)
        return output

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[override]
        if torch.is_grad_enabled():  # of a network bwd_bwd_input throws, and here nothing may ask for it
            raise RuntimeError("DifferentiableObject::backward_backward_input_impl: not implemented error")
        calls["backward"] += 1
        dx, dparameters = ctx.native.backward(ctx.kept, ctx.parameters, gradient * ctx.loss_scale)
        found = (dx / ctx.loss_scale, dparameters / ctx.loss_scale)
        return (None, *(f if want else None for f, want in zip(found, ctx.needs_input_grad[1:3])), None)


class Module(torch.nn.Module):
    """Module, bindings/torch/tinycudann/modules.py."""

    def __init__(self, native: Native, n_output_dims: int) -> None:
        super().__init__()
        self.native_tcnn_module, self.n_output_dims, self.dtype = native, n_output_dims, native.precision
        self.params = torch.nn.Parameter(torch.rand(native.parameters))
        self.loss_scale = 128.0 if native.precision == torch.float16 else 1.0

    def forward(self, x: Tensor) -> Tensor:
        missing = -len(x) % GRANULARITY
        padded = torch.nn.functional.pad(x, [0, 0, 0, missing]) if missing else x
        parameters = self.params.to(self.dtype).contiguous()
        output = _Function.apply(
            self.native_tcnn_module, padded.to(torch.float).contiguous(), parameters, self.loss_scale
        )
        return output[: len(x), : self.n_output_dims]


class Encoding(Module):
    def __init__(self, n_input_dims: int, encoding_config: Config, seed: int = 1337, dtype: Any = None) -> None:
        assert encoding_config["otype"] == "Composite", "nothing else is imitated"
        native = Composite(encoding_config, n_input_dims, dtype or torch.float16)
        super().__init__(native, native.outputs)


class Network(Module):
    def __init__(self, n_input_dims: int, n_output_dims: int, network_config: Config, seed: int = 1337) -> None:
        super().__init__(Fused(n_input_dims, n_output_dims, network_config), n_output_dims)
