from collections.abc import Callable
from pathlib import Path

import torch

from nerf3d.guidance.networks import ConditionalUNet, FlowTransformer, Offloaded
from nerf3d.guidance.teachers import open_teacher

Pipelines = Callable[[str], Path]


def test_sdxl_is_told_its_size_as_the_pipeline_tells_it(pipelines: Pipelines, rng: torch.Generator) -> None:
    from diffusers import StableDiffusionXLPipeline

    teacher = open_teacher(pipelines("sdxl"))
    text = teacher.encode(["a red cube"])
    pipe = StableDiffusionXLPipeline.from_pretrained(pipelines("sdxl"))
    ids = pipe._get_add_time_ids((16, 16), (0, 0), (16, 16), torch.float32, text_encoder_projection_dim=8)
    x = torch.randn(1, 4, 8, 8, generator=rng)
    with torch.no_grad():
        added = {"text_embeds": text.pooled, "time_ids": ids}
        expected = pipe.unet(x, 300, encoder_hidden_states=text.tokens, added_cond_kwargs=added).sample
        found = teacher.denoiser.network(x, torch.tensor([300.0]), text)
    torch.testing.assert_close(found, expected)
    assert isinstance(teacher.denoiser.network, ConditionalUNet)


def test_a_flow_is_asked_as_the_pipeline_asks_it(pipelines: Pipelines, rng: torch.Generator) -> None:
    """One Euler step of the library's own scheduler from t to the next is the same as one of ours."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    from nerf3d.guidance.inversion import move

    teacher = open_teacher(pipelines("sd3"))
    denoiser, text = teacher.denoiser, teacher.encode(["a red cube"])
    assert isinstance(denoiser.network, FlowTransformer)
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(pipelines("sd3") / "scheduler")
    x = torch.randn(1, 4, 8, 8, generator=rng)
    t, following = torch.tensor([700]), torch.tensor([699])
    scheduler.set_timesteps(sigmas=[0.701, 0.7])  # before the shift, which the scheduler applies
    with torch.no_grad():
        u = denoiser.network.module(
            hidden_states=x,
            encoder_hidden_states=text.tokens,
            pooled_projections=text.pooled,
            timestep=scheduler.timesteps[:1],
        ).sample
        expected = scheduler.step(u, scheduler.timesteps[0], x).prev_sample
        found = move(denoiser, x, denoiser.predict(x, t, text), t, following)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_an_offloaded_network_waits_on_the_cpu(pipelines: Pipelines, rng: torch.Generator) -> None:
    teacher = open_teacher(pipelines("sd"))
    moves = []
    module = teacher.denoiser.network.module
    module.to = lambda where: moves.append(str(where)) or module
    network = Offloaded(teacher.denoiser.network, torch.device("cpu", 0))
    x, text = torch.randn(1, 4, 8, 8, generator=rng), teacher.encode(["a red cube"])
    found = network(x, torch.tensor([5.0]), text)
    assert moves == ["cpu:0", "cpu"]
    assert not found.requires_grad
    torch.testing.assert_close(found, teacher.denoiser.network(x, torch.tensor([5.0]), text))
