"""nerfacc's compositing in small, on a CPU, after its source (github.com/nerfstudio-project/nerfacc, version 0.5.3).

`calls` counts what was asked of it.
"""

from collections import Counter

import torch
from torch import Tensor

calls: Counter[str] = Counter()


def exclusive_sum(inputs: Tensor, packed_info: Tensor) -> Tensor:
    """nerfacc/scan.py."""
    assert inputs.dim() == 1
    assert packed_info.dim() == 2
    assert packed_info.shape[-1] == 2
    starts, counts = packed_info.unbind(dim=-1)
    result: Tensor = _ExclusiveSum.apply(starts.contiguous(), counts.contiguous(), inputs.contiguous())
    return result


def _scan(starts: Tensor, counts: Tensor, values: Tensor, backward: bool) -> Tensor:
    """exclusive_sum in nerfacc/cuda/csrc/scan.cu: chunk after chunk in single precision, backward from the end."""
    assert values.dtype == torch.float32  # data_ptr<float>
    assert starts.dtype == counts.dtype == torch.int64
    out = torch.empty_like(values)
    for start, count in zip(starts.tolist(), counts.tolist()):
        own = values[start : start + count]
        if backward:
            own = own.flip(0)
        running = torch.cat([torch.zeros(1), own])[:count].cumsum(0)
        out[start : start + count] = running.flip(0) if backward else running
    return out


class _ExclusiveSum(torch.autograd.Function):
    """Its backward pass calls the kernel once more, which autograd does not see: a second derivative would be wrong."""

    @staticmethod
    def forward(ctx, starts: Tensor, counts: Tensor, inputs: Tensor) -> Tensor:
        ctx.save_for_backward(starts, counts)
        return _scan(starts, counts, inputs, backward=False)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[override]
        return None, None, _scan(*ctx.saved_tensors, gradient.detach().contiguous(), backward=True)


def render_weight_from_density(
    t_starts: Tensor,
    t_ends: Tensor,
    sigmas: Tensor,
    packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
    prefix_trans: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """nerfacc/volrend.py, with render_transmittance_from_density, for packed samples."""
    calls["weights"] += 1
    assert packed_info is not None, "nothing else is imitated"
    depth = sigmas * (t_ends - t_starts)
    alphas = 1.0 - torch.exp(-depth)
    trans = torch.exp(-exclusive_sum(depth, packed_info))
    return trans * alphas, trans, alphas


def accumulate_along_rays(
    weights: Tensor, values: Tensor | None = None, ray_indices: Tensor | None = None, n_rays: int | None = None
) -> Tensor:
    """nerfacc/volrend.py, for packed samples."""
    assert ray_indices is not None
    assert n_rays is not None
    if values is not None:
        assert values.dim() == weights.dim() + 1
        assert weights.shape == values.shape[:-1]
    source = weights[..., None] if values is None else weights[..., None] * values
    outputs = torch.zeros((n_rays, source.shape[-1]), device=source.device, dtype=source.dtype)
    outputs.index_add_(0, ray_indices, source)
    return outputs
