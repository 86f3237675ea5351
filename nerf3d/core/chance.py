"""Random numbers for the CPU out of a stream that may be a GPU's."""

import torch


def here(rng: torch.Generator) -> torch.Generator:
    """A stream for what the CPU decides: which object is looked at, where a camera stands. The stream itself, if it is on
    the CPU; a GPU's gives one number, for which it is waited, and a new stream begins with that.
    """
    if rng.device.type == "cpu":
        return rng
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=rng, device=rng.device)))
