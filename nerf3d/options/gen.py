"""What `nerf3d gen STEP` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.options.common import STARTED, add_training, command, positive

ABOUT = (
    "From pictures of many objects to a model that makes more of them: drawn, mixed, found again in pictures, edited."
)


def add_gen(commands) -> None:  # type: ignore[no-untyped-def]
    group = commands.add_parser(
        "gen",
        help="learn to make objects like those of a collection",
        description=ABOUT,
        epilog="Begin with: nerf3d gen collect cars --out data/cars, and then nerf3d gen fit data/cars --out runs/cars",
    )
    steps = group.add_subparsers(title="steps", required=True, metavar="STEP")
    for add in (_add_collect, _add_fit, _add_sample, _add_interpolate, _add_invert, _add_edit, _add_eval):
        add(steps)


def _add_collect(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "collect",
        "draw a collection of the built-in world: cars, or all its objects, seen from all around",
        "  nerf3d gen collect cars --out data/cars\n  nerf3d gen collect objects --out data/things --count 4000 --size 64",
        _collect,
    )
    parser.add_argument("kind", choices=["cars", "objects"], help="what to draw")
    parser.add_argument("--out", metavar="DATA", required=True, help="the new folder, in EG3D's layout")
    parser.add_argument("--count", metavar="N", type=positive, default=1000, help="objects (1000)")
    parser.add_argument("--views", metavar="N", type=positive, default=20, help="pictures of each (20)")
    parser.add_argument("--size", type=int, choices=[32, 64, 128], default=32, help="of the pictures, in pixels (32)")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of all chance (0)")


def _collect(arguments: argparse.Namespace) -> None:
    from nerf3d.commands.prepare_collection import prepare_collection

    prepare_collection(arguments.kind, arguments.out, arguments.count, arguments.views, arguments.size, arguments.seed)


def _add_fit(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "fit",
        "learn to make objects like those of a collection",
        "  nerf3d gen fit data/cars --out runs/cars --max-minutes 30\n"
        "  nerf3d gen fit data/cars --recipe eg3d --out runs/cars-eg3d\n"
        "  nerf3d gen fit data/cars --out runs/cars --resume --max-minutes 60\n"
        "\nCollections: EG3D's layout, ShapeNet-SRN's, or a folder of Blender-style scenes.\n"
        "\nRecipes for pictures of 32 x 32 and a machine without a GPU, half an hour each:\n"
        "  diffae   a picture's code is an object, and a flow draws codes: the one to begin with\n"
        "  ssdnerf  planes for every object, and a diffusion over them\n"
        "  vqar     tokens for the parts of an object, and a transformer over them\n"
        "  eg3d, pigan, graf   against a critic\n"
        "Those with a number in their name are published settings, for GPUs.",
        _fit,
    )
    parser.add_argument("collection", metavar="DATA", help="the folder with the collection")
    parser.add_argument("--out", metavar="RUN", help="the run's folder (runs/DATA-PRESET)")
    parser.add_argument("--size", metavar="PIXELS", type=positive, help="of the pictures to learn from (the recipe's)")
    add_training(parser, "gen", "default diffae", "; loading and compiling count")
    parser.add_argument("--recipe", dest="preset", metavar="NAME", help="the same as --preset")


def _fit(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.tensor_cores import use_tensor_cores

    use_tensor_cores()
    from nerf3d.commands.fit_generator import fit_generator

    fit_generator(
        arguments.collection,
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


def _add_drawing(parser: argparse.ArgumentParser, seeds: str) -> None:
    parser.add_argument("model", metavar="RUN", help="what `nerf3d gen fit` made")
    parser.add_argument("--seeds", default=seeds, help=f"which objects: 3, 1,2,3 or 0-15 ({seeds})")
    parser.add_argument(
        "--truncation", metavar="T", type=float, default=1.0, help="below 1: more usual objects, which differ less (1)"
    )
    parser.add_argument("--kind", metavar="CAPTION", help="only this kind, of those that the model was told")


def _add_sample(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "sample",
        "draw objects: pictures, turntables and meshes, each in a run of its own",
        "  nerf3d gen sample runs/cars --seeds 0-15\n"
        '  nerf3d gen sample runs/cars --seeds 0-3 --kind "a red car" --out cars/\n'
        "  nerf3d export runs/cars/samples/seed_0003 --out car.glb",
        _sample,
    )
    _add_drawing(parser, "0-7")
    parser.add_argument("--out", metavar="DIR", help="the folder for all of them (RUN/samples)")
    parser.add_argument("--only-pictures", action="store_true", help="no turntables and no meshes")


def _sample(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.sample_generator import sample_generator

    given = (arguments.model, arguments.seeds, arguments.out, arguments.truncation, arguments.kind)
    sample_generator(*given, arguments.only_pictures)


def _add_interpolate(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "interpolate",
        "film the way from one object to the next",
        "  nerf3d gen interpolate runs/cars --seeds 1,2,3 --out cars.mp4",
        _interpolate,
    )
    _add_drawing(parser, "1,2,3")
    parser.add_argument("--out", metavar="FILM", help="an .mp4 (RUN/media/interpolation.mp4)")
    parser.add_argument("--frames", metavar="N", type=positive, default=48, help="from one object to the next (48)")


def _interpolate(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.interpolate import interpolate

    given = (arguments.model, arguments.seeds, arguments.out, arguments.frames)
    interpolate(*given, arguments.truncation, arguments.kind)


def _add_invert(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "invert",
        "find the object that a picture shows",
        "  nerf3d gen invert runs/cars car.png\n  nerf3d gen invert runs/cars data/cars/00000/img00000003.png --out car3/",
        _invert,
    )
    parser.add_argument("model", metavar="RUN", help="what `nerf3d gen fit` made")
    parser.add_argument("picture", metavar="PICTURE", help="one object, square, before transparency or white")
    parser.add_argument("--out", metavar="DIR", help="the object's folder (RUN/inverted/PICTURE)")
    parser.add_argument("--no-tuning", action="store_true", help="do not adapt the model to this one picture")
    parser.add_argument(
        "--measure",
        action="append",
        choices=["absolute", "structural", "perceptual", "identity"],
        default=[],
        help="how the object is held against the picture beside squared differences; may be given again",
    )
    parser.add_argument(
        "--critic", metavar="DIR", help="the open_clip model that sees the identity (the program's own)"
    )
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of all chance (0)")


def _invert(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.invert_picture import invert_picture

    invert_picture(
        arguments.model,
        arguments.picture,
        arguments.out,
        not arguments.no_tuning,
        arguments.seed,
        arguments.measure,
        arguments.critic,
    )


def _add_edit(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "edit",
        "change an object as a text says",
        '  nerf3d gen edit runs/cars runs/cars/samples/seed_0003 "a yellow one"\n'
        '  nerf3d gen edit runs/cars runs/cars/inverted/car "a green car" --everywhere --strength 1.5',
        _edit,
    )
    parser.add_argument("model", metavar="RUN", help="what `nerf3d gen fit` made")
    parser.add_argument("latent", metavar="OBJECT", help="an object's folder, or the latent.safetensors in it")
    parser.add_argument("text", metavar="TEXT", help="what it shall be")
    parser.add_argument("--out", metavar="DIR", help="the new object's folder (beside the latent's)")
    parser.add_argument("--everywhere", action="store_true", help="along a direction that turns other objects too")
    parser.add_argument("--strength", metavar="S", type=float, default=1.0, help="how far (1)")
    parser.add_argument(
        "--critic", metavar="DIR", help="another open_clip model to read the text by (the program's own)"
    )
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of all chance (0)")


def _edit(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.edit_object import edit_object

    given = (arguments.model, arguments.latent, arguments.text, arguments.out, arguments.everywhere)
    edit_object(*given, arguments.strength, arguments.critic, arguments.seed)


def _add_eval(steps) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        steps,
        "eval",
        "measure how like the collection's its objects are, and how different from each other",
        "  nerf3d gen eval runs/cars\n  nerf3d gen eval runs/cars --inception inception_v3.safetensors",
        _eval,
    )
    parser.add_argument(
        "model", metavar="RUN", help="what `nerf3d gen fit` made; its collection has to be where it was"
    )
    parser.add_argument(
        "--inception",
        metavar="FILE",
        help="weights of torchvision's inception_v3 as .safetensors: FID, KID and IS beside the program's own figures",
    )


def _eval(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.evaluate_generator import evaluate_generator
    from nerf3d.commands.generator_figures import table

    print(table(evaluate_generator(arguments.model, inception=arguments.inception)))
