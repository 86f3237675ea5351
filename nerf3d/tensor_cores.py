"""What a GPU may round in the sums of networks, said in one place.

With TF32 the factors of matrix products and convolutions keep 10 of their 23 bits, sums all, and are multiplied several
times faster. Where large networks of torch's do most of the work, a prompt's judge or a generator against its critic, that
is a good bargain: such networks are often trained in shorter numbers. `nerf3d text` and `nerf3d gen fit` make it.

`nerf3d fit` and `nerf3d avatar fit` leave torch as it is, full precision in matrix products: their networks run in kernels
of the program's own, which keep it, and what is left are few products, of colors and of a kernel regression, which need it.
The CPU knows nothing of all this. Only programs may choose for a process (the command line does), never an import.
"""


def use_tensor_cores() -> None:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
