"""What `nerf3d avatar STEP` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.options.common import command

ABOUT = "From a film of a person who speaks to the data that a talking head is learnt from."


def add_avatar(commands) -> None:  # type: ignore[no-untyped-def]
    group = commands.add_parser(
        "avatar", help="make a film of a person who speaks ready for a talking head", description=ABOUT
    )
    steps = group.add_subparsers(title="steps", required=True, metavar="STEP")
    _add_prepare(steps)


def _add_prepare(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "prepare",
        "find face, head poses, mattes and sound in a film, and put them into a folder",
        "  nerf3d avatar prepare me.mp4 --out data/me\n"
        "  nerf3d avatar prepare me.mov --out data/me --size 256 --features mfcc\n"
        "  nerf3d avatar prepare me.mp4 --out data/me --features models/hubert-base\n"
        "  nerf3d avatar prepare me.mp4 --out data/me --face-model models/face_landmarker.task\n"
        "\nLook at preview.mp4 in the folder before you go on. Film people only with their consent.",
        _prepare,
    )
    parser.add_argument(
        "video", metavar="VIDEO", help="one person who speaks, from the front, camera at rest; a minute or more"
    )
    parser.add_argument("--out", metavar="DATA", required=True, help="the new folder")
    parser.add_argument("--size", type=int, choices=[256, 512], default=512, help="of the square frames (512)")
    parser.add_argument(
        "--features",
        metavar="NAME",
        default="log-mel",
        help="what the head hears: log-mel, mfcc, filter-bank, or the folder of a HuBERT or wav2vec 2.0 model (log-mel)",
    )
    parser.add_argument(
        "--face-model",
        metavar="FILE",
        help="MediaPipe's face_landmarker.task, selfie_segmenter.tflite beside it, where its wheel carries no models",
    )


def _prepare(arguments: argparse.Namespace) -> None:
    from nerf3d.commands.prepare_avatar import prepare_avatar

    prepare_avatar(arguments.video, arguments.out, arguments.size, arguments.features, arguments.face_model)
