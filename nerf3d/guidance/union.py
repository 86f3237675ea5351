"""All guidances. The union is the registry: a new judge is one file and one word here."""

from nerf3d.guidance.csd import CSD
from nerf3d.guidance.ism import ISM
from nerf3d.guidance.sdi import SDI
from nerf3d.guidance.sds import SDS
from nerf3d.guidance.vsd import VSD

GuidanceConfig = SDS | VSD | CSD | ISM | SDI
"""Each has `build(denoiser, prompts, rng) -> core.Guidance`; what VSD builds is a `vsd.Learner`, too."""
