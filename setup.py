"""All about the package stands in pyproject.toml, except this: a wheel carries the recipes of configs/ inside of it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # an editable installation reads them where they are
            shutil.copytree("configs", Path(self.build_lib) / "nerf3d" / "configs", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithRecipes})
