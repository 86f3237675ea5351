"""The teacher of a prompt, opened and told what to look for."""

import re
from pathlib import Path

import torch

from nerf3d.assets import PRIOR, of_the_world
from nerf3d.console import say
from nerf3d.core import Guidance
from nerf3d.data.world.captions import view_compass, vocabulary
from nerf3d.guidance.teachers import open_teacher
from nerf3d.tasks.text import Text


def folder_of(prior: str | None) -> Path:
    """Where a prior lies, if it is a folder."""
    return PRIOR if prior is None or prior == "builtin" else Path(prior).expanduser()


def guidance_of(prompt: str, recipe: Text, device: torch.device, rng: torch.Generator) -> Guidance:
    """The recipe's judge, told what to look for. The teacher's text encoder is not kept."""
    folder = folder_of(recipe.teacher)
    worldly = of_the_world(folder)
    if worldly and (strange := unknown_words(prompt)):
        say(f"the embedded prior has never read {', '.join(strange)}; expect little of that, or name another --prior")
    teacher = open_teacher(folder if worldly else recipe.teacher, device)
    prompts = recipe.prompts.build(prompt, teacher.encode, view_compass if worldly else None).to(device)
    return recipe.guidance.build(teacher.denoiser, prompts, rng)


def unknown_words(prompt: str) -> list[str]:
    """What the embedded prior has not met in any caption; of a prompt without words, all of it.

    >>> unknown_words("A corgi on top of a blue mushroom")
    ['corgi']
    >>> unknown_words("!?")
    ['!?']
    """
    known = set(" ".join(vocabulary()).split())
    return [word for word in dict.fromkeys(words_of(prompt)) if word not in known]


def words_of(prompt: str) -> list[str]:
    """In small letters; of a prompt without words, whatever it has between spaces."""
    return re.findall(r"[^\W_]+", prompt.lower()) or prompt.split()
