"""Generation: a collection of posed pictures of many objects supervises a model that makes fields of codes."""

from nerf3d.tasks.generate.build import Generate as Generate
from nerf3d.tasks.generate.latent import Latent as Latent
from nerf3d.tasks.generate.made import Made as Made
from nerf3d.tasks.generate.maker import GenerateTask as GenerateTask
from nerf3d.tasks.generate.maker import Maker as Maker
from nerf3d.tasks.generate.recipe import EG3D as EG3D
from nerf3d.tasks.generate.recipe import VQAR as VQAR
from nerf3d.tasks.generate.recipe import DiffAE as DiffAE
from nerf3d.tasks.generate.recipe import SSDNeRF as SSDNeRF
