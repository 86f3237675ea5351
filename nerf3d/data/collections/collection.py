"""Posed pictures of many objects, as every loader of collections returns them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from nerf3d.core import Box, Cameras
from nerf3d.data.collections.cameras import mirrored_cameras
from nerf3d.errors import InputError

EVERY = 10
"""One object of so many is held out."""


@dataclass(frozen=True)
class Attributes:
    """What is known of every object in numbers, a column for each name; no columns where nothing is known."""

    names: tuple[str, ...]
    values: Float[Tensor, "scenes k"]

    @staticmethod
    def unknown(scenes: int) -> "Attributes":
        return Attributes((), torch.zeros(scenes, 0))

    def columns(self, *names: str) -> Float[Tensor, "scenes some"]:
        """The columns with these names, in this order. Raises InputError for a name that is not there."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise InputError(
                f"the collection does not say {missing[0]!r} of its objects; choose of {', '.join(self.names) or 'none'}"
            )
        return self.values[:, [self.names.index(name) for name in names]]


@dataclass(frozen=True)
class Collection:
    """Pictures with straight alpha (255 throughout where the data has none) and the cameras that took them.

    `scene` says which object a picture shows: 0 to len(captions) - 1, each picture its own where that is unknown. A
    caption is "" where there is none. All objects lie within `box`, in the one world that all cameras share.
    """

    pictures: UInt8[Tensor, "n h w 4"]
    cameras: Cameras
    scene: Int64[Tensor, "n"]
    captions: tuple[str, ...]
    box: Box
    has_alpha: bool
    attributes: Attributes

    def __len__(self) -> int:
        """How many pictures there are."""
        return self.pictures.shape[0]

    @property
    def scenes(self) -> int:
        """How many objects there are."""
        return len(self.captions)

    @property
    def kinds(self) -> tuple[str, ...]:
        """All captions, each once, in order."""
        return tuple(sorted({caption for caption in self.captions if caption}))

    def __getitem__(self, index: Any) -> "Collection":
        """Some of the pictures: a slice, a mask or a tensor of indices. All objects keep their numbers."""
        return replace(self, pictures=self.pictures[index], cameras=self.cameras[index], scene=self.scene[index])

    def of_scenes(self, chosen: Sequence[int]) -> "Collection":
        """All pictures of some objects, which are numbered anew in the order given; the pictures keep theirs."""
        number = torch.full((self.scenes,), -1)
        number[list(chosen)] = torch.arange(len(chosen))
        kept = torch.nonzero(number[self.scene] >= 0)[:, 0]
        values = self.attributes.values[list(chosen)]
        return replace(
            self[kept],
            scene=number[self.scene[kept]],
            captions=tuple(self.captions[i] for i in chosen),
            attributes=Attributes(self.attributes.names, values),
        )

    def split(self) -> tuple["Collection", "Collection"]:
        """Objects to learn from, and those held out to measure with: the first of every ten.

        Raises InputError for one picture and for one object.
        """
        if len(self) < 2:
            raise InputError("a collection of one picture leaves nothing to learn from; give it more pictures")
        if self.scenes < 2:
            raise InputError(f"all {len(self)} pictures show one object, so none can be held out; give it more objects")
        everything = range(self.scenes)
        return self.of_scenes([i for i in everything if i % EVERY]), self.of_scenes(everything[::EVERY])

    def mirrored(self) -> "Collection":
        """The mirror image of everything at the plane x = 0: pictures with left for right, and their cameras.

        It shows objects of the same kind where the kind is as likely as its mirror image, as cars along y are.
        """
        flip = torch.tensor([-1.0, 1.0, 1.0])
        low, high = flip * self.box.low, flip * self.box.high
        return replace(
            self,
            pictures=self.pictures.flip(2),
            cameras=mirrored_cameras(self.cameras),
            box=Box(torch.minimum(low, high), torch.maximum(low, high)),
        )


def joined(collections: Sequence[Collection]) -> Collection:
    """One collection of several: their objects one after another, within a box around all of their boxes.

    Attributes that not all of them have are lost. Raises InputError for none and for pictures that differ in size or
    lens.
    """
    if not collections:
        raise InputError("there are no collections to join; give at least one")
    cameras = joined_cameras([part.cameras for part in collections])
    start = torch.tensor([0, *(part.scenes for part in collections)]).cumsum(0).tolist()
    first = collections[0].attributes.names
    names = tuple(name for name in first if all(name in part.attributes.names for part in collections))
    low = torch.stack([part.box.low for part in collections]).amin(0)
    high = torch.stack([part.box.high for part in collections]).amax(0)
    return Collection(
        pictures=torch.cat([part.pictures for part in collections]),
        cameras=cameras,
        scene=torch.cat([part.scene + begin for part, begin in zip(collections, start)]),
        captions=tuple(caption for part in collections for caption in part.captions),
        box=Box(low, high),
        has_alpha=any(part.has_alpha for part in collections),
        attributes=Attributes(names, torch.cat([part.attributes.columns(*names) for part in collections])),
    )


def joined_cameras(several: Sequence[Cameras]) -> Cameras:
    """One batch of several. Raises InputError for pictures that differ in size or lens."""
    first = several[0]
    for cameras in several:
        if (cameras.width, cameras.height, cameras.lens) != (first.width, first.height, first.lens):
            raise InputError(
                f"pictures of {cameras.width} x {cameras.height} pixels ({cameras.lens}) and of {first.width} x "
                f"{first.height} ({first.lens}) cannot be in one collection; give them one size and lens"
            )
    return Cameras(
        torch.cat([cameras.world_from_camera for cameras in several]),
        torch.cat([cameras.intrinsics for cameras in several]),
        torch.cat([cameras.distortion for cameras in several]),
        first.width,
        first.height,
        first.lens,
    )
