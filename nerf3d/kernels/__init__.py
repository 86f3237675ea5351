"""The muscles: the few operations that a radiance field spends its time in.

Each has a plain torch reference, exact and differentiable as often as wanted, and a numba version for CPUs that equals it
within a stated tolerance; most have a Triton version for GPUs as well, and some come from tiny-cuda-nn or nerfacc.
All have one signature, and `kernels.backend` is the one place that chooses.
"""
