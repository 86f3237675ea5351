"""Recipes that make no sense."""

import pytest

from nerf3d.config import find_recipe, read_recipe, recipes
from nerf3d.errors import InputError
from nerf3d.tasks.avatar import Avatar
from nerf3d.tasks.avatar.sanity import check_recipe


@pytest.mark.parametrize("name", recipes("avatar"))
def test_ours_make_sense(name: str) -> None:
    check_recipe(read_recipe(Avatar, find_recipe(name, "avatar")), name)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("rays.count=3", "rays.count is 3, and a number from 64 to 262144 is needed"),
        ("rays.lips=0.9", "more than all rays"),
        ("rays.patch=4", "from 8 to 64"),
        ("weights.mouth=-1", "weights.mouth is -1, and a number from 0 on"),
        ("weights.head=.nan", "weights.head is nan"),
        ("sampler.resolution=4", "from 16 to 512"),
        ("rate.stop=0", "both must be above 0"),
        ("head.mouth=1", "head.mouth is 1"),
        ("head.layout.finest=2", "less than head.layout.coarsest"),
    ],
)
def test_what_makes_none_is_named(setting: str, word: str) -> None:
    recipe = read_recipe(Avatar, find_recipe("ernerf", "avatar"), [setting])
    with pytest.raises(InputError, match=word):
        check_recipe(recipe, f"--set {setting}")
