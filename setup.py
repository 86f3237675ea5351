"""All about the package stands in pyproject.toml, except this: a wheel carries recipes, models and meshes inside of it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ("configs", "assets/prior", "assets/evaluator", "assets/meshes", "assets/person", "assets/prompts")


class BuildWithFiles(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:  # an editable installation reads them where they are
            return
        for folder in CARRIED:
            if Path(folder).is_dir():
                shutil.copytree(folder, Path(self.build_lib) / "nerf3d" / folder, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithFiles})
