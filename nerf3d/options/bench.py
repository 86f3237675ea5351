"""What `nerf3d bench` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.options.common import command, positive


def add_bench(commands) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        commands,
        "bench",
        "run a whole list of prompts, and put figures and pictures of all in one place",
        "  nerf3d bench text\n  nerf3d bench text --prompts mine.txt --out runs/mine --jobs 4",
        _bench,
    )
    parser.add_argument("story", choices=["text"], help="what to run")
    parser.add_argument("--prompts", metavar="FILE", help="one prompt a line (24 that come with the program)")
    parser.add_argument("--out", metavar="DIR", default="runs/bench-text", help="the folder (runs/bench-text)")
    parser.add_argument("--prior", metavar="NAME", help="as in `nerf3d text`")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="change the recipe")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of all chance in the runs (0)")
    jobs = "prompts at once, which share the cores (1): with one core each, all together are done sooner"
    parser.add_argument("--jobs", metavar="N", type=positive, default=1, help=jobs)


def _bench(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.tensor_cores import use_tensor_cores

    use_tensor_cores()
    from nerf3d.commands.bench import bench_text, summary

    prompts = Path(arguments.prompts) if arguments.prompts else None
    rows = bench_text(prompts, arguments.out, arguments.prior, tuple(arguments.set), arguments.seed, arguments.jobs)
    for name, value in summary(rows).items():
        print(f"{name:26} {'-' if value is None else f'{value:.3f}'}")
