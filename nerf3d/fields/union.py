"""All fields. The union is the registry: a new field is one file and one word here."""

from nerf3d.fields.hash_grid import HashGrid
from nerf3d.fields.mlp_field import FrequencyMLP
from nerf3d.fields.sdf import SignedDistance
from nerf3d.fields.tensorf import VectorMatrix

FieldConfig = HashGrid | FrequencyMLP | VectorMatrix | SignedDistance
