"""A code on disk, with the name of the model that understands it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from nerf3d.errors import InputError

CODE, WEIGHTS = "code", "weights."


@dataclass(frozen=True)
class Latent:
    """`model` says which model's, `how` where it came from, in words. `tuned` are weights of the maker that were changed for
    this object alone, by name.
    """

    code: Float[Tensor, "*code"]
    model: str
    how: str
    tuned: dict[str, Tensor] = field(default_factory=dict)

    def require(self, model: str, where: Path | str) -> None:
        """Raises InputError where it belongs to another model."""
        if self.model != model:
            raise InputError(
                f"{where} holds a code of another model, or of this one before it was trained further; draw or invert it "
                "anew with the model that is to make it"
            )


def write_latent(latent: Latent, file: Path) -> None:
    """One safetensors file."""
    from safetensors.torch import save

    tensors = {CODE: latent.code} | {WEIGHTS + name: value for name, value in latent.tuned.items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    file.write_bytes(save(tensors, {"latent": json.dumps({"model": latent.model, "how": latent.how})}))


def read_latent(file: Path) -> Latent:
    """Raises InputError for a file that is missing, damaged or something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            said = json.loads(opened.metadata()["latent"])
        tuned = {name.removeprefix(WEIGHTS): value for name, value in tensors.items() if name.startswith(WEIGHTS)}
        return Latent(tensors[CODE], said["model"], said["how"], tuned)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is no latent ({error}); give one that nerf3d gen sample or invert wrote") from error
