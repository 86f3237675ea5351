"""What `nerf3d avatar eval` says of a talking head: its figures, and each in words."""

from dataclasses import asdict, dataclass

from nerf3d.commands.explained import explained


@dataclass(frozen=True)
class TalkingFigures:
    """Means over the held-out frames, whose poses (head's and torso's) and eyes are the truth's and whose mouth is the
    sound's alone.

    dB, pixels of the run's frames, milliseconds. Those of the mouth, eyes and jitter need MediaPipe, and are None without
    it; `lpips_head` needs its network. `_shuffled`: the same under the wrong sound, the held-out sound moved by half of
    its length; what the picture shows without listening.
    """

    psnr_head: float
    psnr_lips: float
    psnr_lips_shuffled: float
    psnr_pasted: float
    """The whole frame with the truth outside of the head: what most tables call PSNR."""
    psnr_full: float
    ssim_head: float
    ssim_full: float
    lpips_head: float | None
    lmd: float | None
    """Distance of the mouth's landmarks."""
    mouth_correlation: float | None
    mouth_correlation_shuffled: float | None
    mouth_correlation_ridge: float | None
    """Of a ridge regression from the sound alone, trained on the training frames: what has to be beaten."""
    mouth_spread: float | None
    """How far the mouth opens and closes (standard deviation), by how far it should."""
    blink_recall: float | None
    """None where there is no blink to be shown."""
    blink_precision: float | None
    """None where none is shown."""
    jitter: float | None
    """Of the head's rigid landmarks under a pose that stands still."""
    offset_ms: float | None
    """How late the film's mouth is."""
    fps: float
    """Frames rendered in a second."""
    frames: int
    step: int


IN_WORDS = {
    "psnr_head": "dB, the box around the head; more is better, as in all dB",
    "psnr_lips": "dB, the box around the lips",
    "psnr_lips_shuffled": "dB, the same under the wrong sound: should be less",
    "psnr_pasted": "dB, the frame with the truth outside of the head: what most tables call PSNR",
    "psnr_full": "dB, the whole frame",
    "ssim_head": "likeness of structures in the head's box; 1 is best",
    "ssim_full": "in the whole frame",
    "lpips_head": "distance as a network sees it, in the head's box; 0 is best",
    "lmd": "pixels between the mouth's landmarks and the truth's",
    "mouth_correlation": "how well the mouth's opening follows the truth's; 1 is best",
    "mouth_correlation_shuffled": "under the wrong sound: should be near 0",
    "mouth_correlation_ridge": "for comparison: a regression from the sound that draws no picture",
    "mouth_spread": "how far the mouth opens and closes, by how far it should; 1 is best",
    "blink_recall": "share of the truth's blinks that are shown",
    "blink_precision": "share of the blinks shown that are the truth's",
    "jitter": "pixels that the head trembles by when it should stand still",
    "offset_ms": "milliseconds that the mouth is late by; a frame lasts 40",
    "fps": "frames rendered in a second",
    "frames": "held-out frames that all this is measured on",
    "step": "steps of training",
}


def table(figures: TalkingFigures) -> str:
    """The figures for reading, each with what it means."""
    said = asdict(figures)
    numbers = {name: "-" if v is None else f"{v:d}" if isinstance(v, int) else f"{v:.3f}" for name, v in said.items()}
    lines = explained([(name, number, IN_WORDS[name]) for name, number in numbers.items()])
    if any(value is None for value in said.values()):
        lines.append(
            "-: there was nothing to measure it on (no blink in these frames, say), or what measures it is not here"
        )
    return "\n".join(lines)
