"""`nerf3d gen edit`: an object of a generative model and a text in, the object as the text says, out."""

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.assets import EVALUATOR
from nerf3d.commands.sample_generator import Sampled, check_room, keep_object, looked_at
from nerf3d.commands.teaching import unknown_words, words_of
from nerf3d.commands.text import check_prompt, slug
from nerf3d.console import bar_of_points, say
from nerf3d.data.world.captions import COMPASS, HEIGHTS
from nerf3d.errors import InputError
from nerf3d.export.pictures import contact_sheet, write_picture
from nerf3d.metrics.clip import Evaluator
from nerf3d.runs import LATENT, open_run
from nerf3d.scenes import Model, as_tuned, field_of, load_model
from nerf3d.tasks.generate.editing import Disagreement, edit
from nerf3d.tasks.generate.latent import Latent, read_latent

VIEWS = 16
COMPANY = 8
"""Objects that a shared direction is found on."""
GRAMMAR = {"a", "an", "the", "one", "it", "with", "on", "top", "of", "next", "to", "from"}
GRAMMAR |= {"view", "front", "side", "back", "overhead", *COMPASS, *HEIGHTS}
"""Words that say nothing of what a thing looks like."""


def edit_object(
    run: Path | str,
    latent: Path | str,
    text: str,
    out: Path | str | None = None,
    everywhere: bool = False,
    strength: float = 1.0,
    critic: Path | str | None = None,
    seed: int = 0,
) -> Sampled:
    """Move an object's code until it looks like `text` from all sides and keeps its outline; write it to `out` (None: beside
    the latent) as `sample_generator` does, with edit.png: before and after.

    `latent` is an object's folder or its latent.safetensors. `everywhere`: move it along a direction that turns other
    objects of the model too; `strength` times as far. `critic` is the folder of an open_clip model that says what looks
    like the text (None: the program's own, which knows simple things in plain colours). Raises InputError.
    """
    check_prompt(text, "nerf3d gen edit RUN OBJECT 'a yellow one'")
    if not 0 < strength <= 10:
        raise InputError(f"a strength of {strength:g} is not useful; choose a number above 0, at most 10")
    model = load_model(open_run(Path(run)))
    file = _file(Path(latent))
    before = read_latent(file)
    before.require(model.name, file)
    here = file.parent.resolve()
    target = Path(out) if out is not None else here.with_name(f"{here.name}-{slug(text)}")
    if target.resolve() == here:
        raise InputError(f"{target} holds the object that is to be edited; choose another --out")
    check_room(target, model)
    words = meant(text, model.about.kinds)
    if words != text:
        say(f"{text!r} is read as {words!r}")
    if critic is None:
        check_words(words)
    rng = torch.Generator().manual_seed(seed)
    makes = as_tuned(model, before).makes
    codes = before.code[None]
    if everywhere:
        company = torch.Generator().manual_seed(seed + 2**32)  # not the object itself, which may be of this very seed
        codes = torch.cat([codes, makes.draw(COMPANY - 1, company)])
    toward = against(Evaluator.open(EVALUATOR if critic is None else Path(critic)), words)
    with bar_of_points("edit") as show:
        change = edit(makes, codes, toward, model.about.views(VIEWS), rng, everywhere, show=show)[0]
    after = replace(before, code=before.code + strength * change, how=f"{before.how}; {text}")
    sides = [*_sides(model, before), *_sides(model, after)]
    sheet = contact_sheet(sides, len(sides) // 2)
    made = keep_object(model, after, target, seed, more=lambda work: write_picture(work / "edit.png", sheet))
    say(f"the edited object is in {target}; edit.png shows it below what it was")
    return made


def against(evaluator: Evaluator, text: str) -> Disagreement:
    """1 - cos(picture, text)."""
    wanted = evaluator.read([text])[0]

    def disagreement(images: Float[Tensor, "v h w 3"]) -> Float[Tensor, "v"]:
        return 1 - evaluator.watch(images) @ wanted

    return disagreement


def check_words(text: str) -> None:
    """Say what the program's own critic does not know; InputError where it knows none of the words that mean something."""
    strange = [word for word in unknown_words(text) if word not in GRAMMAR]
    if not {*words_of(text)} - {*strange} - GRAMMAR:
        raise InputError(
            f"the program's own critic knows nothing of {text!r}; ask for a colour or a thing of its world, as in "
            "'a yellow one', or name another open_clip model with --critic"
        )
    if strange:
        say(f"the program's own critic has never read {', '.join(strange)}: expect nothing of that, or name a --critic")


def meant(text: str, kinds: tuple[str, ...]) -> str:
    """A text with the thing's name for "one", where all kinds that the model knows are the same thing.

    >>> meant("a yellow one", ("a red car", "a blue car"))
    'a yellow car'
    """
    names = {kind.split()[-1] for kind in kinds}
    words = text.split()
    if len(names) == 1 and "one" in words:
        return " ".join(names.copy().pop() if word == "one" else word for word in words)
    return text


def _sides(model: Model, latent: Latent) -> list[Tensor]:
    return list(looked_at(model.scene(field_of(model, latent)), 4))


def _file(path: Path) -> Path:
    file = path / LATENT if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"there is no latent at {path}; give the folder of an object that nerf3d gen sample wrote")
    return file
