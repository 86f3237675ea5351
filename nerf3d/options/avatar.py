"""What `nerf3d avatar STEP` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.options.common import STARTED, add_training, command, positive

ABOUT = "From a film of a person who speaks to a head that speaks any sound. Film people only with their consent."


def add_avatar(commands) -> None:  # type: ignore[no-untyped-def]
    group = commands.add_parser(
        "avatar", help="learn a talking head from a film of a person, and let it speak", description=ABOUT
    )
    steps = group.add_subparsers(title="steps", required=True, metavar="STEP")
    _add_prepare(steps)
    _add_fit(steps)
    _add_render(steps)
    _add_eval(steps)


def _add_prepare(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "prepare",
        "find face, head poses, mattes and sound in a film, and put them into a folder",
        "  nerf3d avatar prepare me.mp4 --out data/me\n"
        "  nerf3d avatar prepare me.mov --out data/me --size 256 --features mfcc\n"
        "  nerf3d avatar prepare me.mp4 --out data/me --features models/hubert-base\n"
        "  nerf3d avatar prepare me.mp4 --out data/me --face-model models/face_landmarker.task\n"
        "  nerf3d avatar prepare me.mp4 --out data/me --also adnerf --also radnerf\n"
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
    parser.add_argument(
        "--also",
        action="append",
        choices=["adnerf", "radnerf"],
        default=[],
        help="add the files that AD-NeRF's tools want, or RAD-NeRF's and ER-NeRF's; to a DATA that is prepared already, too",
    )


def _prepare(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from nerf3d.commands.prepare_avatar import also_for, prepare_avatar
    from nerf3d.console import say

    if arguments.also and Path(arguments.out, "transforms_train.json").is_file():
        also_for(arguments.also, arguments.out)
        say(
            f"{arguments.out} was prepared before: the film was not looked at, only the files that were missing are added"
        )
        return
    prepare_avatar(
        arguments.video,
        arguments.out,
        arguments.size,
        arguments.features,
        arguments.face_model,
        layouts=arguments.also,
    )


def _add_fit(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "fit",
        "learn a talking head from a prepared folder",
        "  nerf3d avatar fit data/me --out runs/me --max-minutes 15\n"
        "  nerf3d avatar fit data/me --out runs/me --resume --max-minutes 60\n"
        "  nerf3d avatar fit data/me --preset adnerf\n"
        "  nerf3d avatar fit data/me --size 256 --set weights.mouth=0.05",
        _fit,
    )
    parser.add_argument("data", metavar="DATA", help="what `nerf3d avatar prepare` (or AD-NeRF's tools) made")
    parser.add_argument("--out", metavar="RUN", help="the run's folder (runs/DATA-PRESET)")
    parser.add_argument("--size", metavar="PIXELS", type=positive, help="of the frames to learn from (as prepared)")
    add_training(parser, "avatar", "default ernerf", "; loading and compiling count")


def _fit(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.fit_avatar import fit_avatar

    fit_avatar(
        arguments.data,
        arguments.out,
        arguments.preset,
        tuple(arguments.set),
        arguments.steps,
        arguments.max_minutes,
        arguments.size,
        arguments.seed,
        arguments.checkpoint_every,
        arguments.resume,
        arguments.device,
        STARTED,
    )


def _add_render(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "render",
        "let a talking head say a sound, as a film with that sound",
        "  nerf3d avatar render runs/me --audio voice.wav --out film.mp4\n"
        "  nerf3d avatar render runs/me --audio speech.mp3 --pose orbit --background green\n"
        "  nerf3d avatar render runs/me --audio speech.m4a --pose still --blink none --background room.jpg\n"
        "  nerf3d avatar render runs/me --audio voice.wav --background alpha --out film.mov",
        _render,
    )
    parser.add_argument("run_folder", metavar="RUN")
    parser.add_argument(
        "--audio", metavar="SOUND", required=True, help="wav, mp3, m4a, flac, ...; a film's sound will do"
    )
    parser.add_argument(
        "--out", help="an .mp4; with --background alpha a .mov, or a folder for PNGs (RUN/media/SOUND.mp4)"
    )
    parser.add_argument(
        "--pose",
        default="natural",
        help="natural, still, original, orbit, or a file with a pose per frame: .npy of (n, 4, 4), or .json in the form of "
        "DATA/transforms_val.json (natural)",
    )
    parser.add_argument(
        "--blink", default="auto", help="auto, original, none, or a file with the eyes' opening per frame (auto)"
    )
    parser.add_argument(
        "--background", default="original", help="original, alpha, a colour, or a picture's file (original)"
    )
    parser.add_argument("--fps", type=float, default=25.0, help="frames per second (25)")
    parser.add_argument("--features", metavar="FOLDER", help="of the speech model, if the head was taught with one")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of motion and blinks (0)")


def _render(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.render_avatar import render_avatar

    render_avatar(
        arguments.run_folder,
        arguments.audio,
        arguments.out,
        arguments.pose,
        arguments.blink,
        arguments.background,
        arguments.fps,
        arguments.features,
        arguments.seed,
    )


def _add_eval(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "eval",
        "measure a talking head on the part of the film that it has not seen",
        "  nerf3d avatar eval runs/me\n  nerf3d avatar eval runs/me --data moved/me",
        _eval,
    )
    parser.add_argument("run_folder", metavar="RUN")
    parser.add_argument("--data", metavar="DATA", help="the prepared folder, if it is not where it was")
    parser.add_argument("--face-model", metavar="FILE", help="as in `nerf3d avatar prepare`")


def _eval(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.evaluate_avatar import evaluate_avatar
    from nerf3d.commands.talking_figures import table

    print(table(evaluate_avatar(arguments.run_folder, arguments.data, arguments.face_model)))
