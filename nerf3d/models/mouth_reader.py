"""What the mouth does, read from the sound in closed form: kernel ridge regression.

A minute of film holds some 1,600 windows of sound. That is too few for a network, which learns them by heart: on a real clip
its guesses of the mouth's opening correlate 0.47 with the truth after as many steps as a head needs, and 0.58 with noise
against that. It is enough for a regression that compares each new window with all of them: 0.66. With the windows z,
standardised channel by channel, h_j their products with a narrow and a wide bell along time, and the mouths y of the
training frames,

    k(z, w) = mean over j of exp(-|h_j(z) - h_j(w)|^2 / (WIDTH m_j^2))      m_j: the median distance between training windows
    y(z)    = mean y + g^2 k(z, Z) (k(Z, Z) + RIDGE I)^-1 (Y - mean y)

(Saunders et al. 1998; there g = 1). The bells' middle is that of the windows, or up to 60 ms beside it: wherever fifths of
the film are guessed best from the other four, since films are seldom quite in time with their sound, and lips prepare what
will be heard.

Of what is not certain a regression makes a mean: guesses of windows that it was not given spread 0.75 times as far as the
truth, and lips would hardly move. g gives back what is missing, as far as the guesses of the fifths show it, and as far as
they are worth anything. It does so twice, because what cannot be guessed of a mouth is for the greater part that landmarks
tremble, and a head that is told a trembling mouth learns to answer it by less: on the real clip lips opened 0.64 times as
far as they should with g, and 0.7 times with its square. The head is taught with the mouth that was seen, and speaks with
the one that is read.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.models.sound_encoder import STEPS

WIDTH, RIDGE = 0.5, 0.05
BELLS = (2.5, 6.0)
"""Deviations, in steps of 20 ms. By five-fold cross-validation in time on the training part of a real clip, and on the part
of it that was held out: 0.65 and 0.64 with one bell in the middle, 0.66 and 0.67 with these 40 ms later."""
SHIFTS = (0, 1, 2, 3, -1)
"""Of the bells' middle, in steps; positive is later. A film that cannot tell gets the first."""
ASKED = 1500
"""Windows that are asked for the best of these."""
FOLDS, APART = 5, 12
"""Parts of the film that are guessed from the others, and frames beside each that are left out: windows overlap."""
MOST_GAIN = 2.0
TRUSTED = 0.5
"""Guesses that correlate so much with the truth get the whole gain, others in proportion: noise is not to be made louder."""
MOST_WINDOWS = 6000
MOST_CHANNELS, MOST_STEPS = 64, 20_000
"""Of features with more channels, so many principal components are compared, which about so many steps give."""


class MouthReader(nn.Module):
    """Windows of `channels` numbers per step to `outputs` numbers; before `learn` it answers 0."""

    windows: Tensor
    answers: Tensor
    gain: Tensor
    offset: Tensor
    mean: Tensor
    basis: Tensor
    reach: Tensor
    shift: Tensor

    def __init__(self, channels: int, frames: int, outputs: int = 2) -> None:
        super().__init__()
        kept, compared = min(frames, MOST_WINDOWS), min(channels, MOST_CHANNELS)
        self.register_buffer("windows", torch.zeros(kept, STEPS * compared))
        self.register_buffer("answers", torch.zeros(kept, outputs))
        self.register_buffer("gain", torch.ones(outputs))
        self.register_buffer("offset", torch.zeros(outputs))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("basis", torch.zeros(channels, compared))
        self.register_buffer("reach", torch.ones(len(BELLS)))
        self.register_buffer("shift", torch.zeros(()))

    @torch.no_grad()
    def learn(self, windows: Float[Tensor, "frames 16 c"], mouths: Float[Tensor, "frames outputs"]) -> None:
        """From the training frames' sound and mouths, of which NaN is not known.

        Raises InputError where fewer than two mouths are known.
        """
        known = ~mouths.isnan().any(-1)
        if int(known.sum()) < 2:
            raise InputError(
                "the data says nothing about the mouth; prepare the film again with: nerf3d avatar prepare"
            )
        rows = known.nonzero()[:, 0]  # fewer than there is room for come more than once, which does no harm
        some = rows[torch.linspace(0, len(rows) - 1, len(self.windows), device=rows.device).round().long()]
        steps = windows.reshape(-1, windows.shape[-1])
        self.mean.copy_(steps.mean(0))
        spread = steps.std(0).clamp_min(1e-6)
        if self.basis.shape[0] == self.basis.shape[1]:
            self.basis.copy_(torch.diag(1 / spread))
        else:
            few, count = (steps - self.mean)[:: max(len(steps) // MOST_STEPS, 1)], self.basis.shape[1]
            _, values, vectors = torch.linalg.svd(few, full_matrices=False)
            scale = values[:count] / max(len(few) - 1, 1) ** 0.5
            self.basis.copy_((vectors[:count] / scale.clamp_min(1e-6)[:, None]).T)
        self.windows.copy_(self._compared(windows[some]))
        seen = mouths[some].double()
        asked = slice(None, None, -(-len(seen) // ASKED))
        self.shift.fill_(float(min(SHIFTS, key=lambda shift: self._missed(shift, self.windows[asked], seen[asked]))))
        kernel = self._own_kernel(self.windows)
        self.offset.copy_(seen.mean(0))
        self.answers.copy_(torch.linalg.solve(kernel, seen - seen.mean(0)))
        self.gain.copy_(_gain(kernel, seen))

    def forward(self, windows: Float[Tensor, "n 16 c"]) -> Float[Tensor, "n outputs"]:
        """What the mouth does in each of some windows."""
        return self.offset + self.gain.square() * (self.expected(windows) - self.offset)

    def expected(self, windows: Float[Tensor, "n 16 c"]) -> Float[Tensor, "n outputs"]:
        """What it does on average in windows like these: nearest to the truth, but too near to the mean."""
        return self.offset + self._kernel(self._distances(self._compared(windows), self.windows)) @ self.answers

    def _missed(self, shift: int, windows: Tensor, seen: Float[Tensor, "n outputs"]) -> float:
        """How wrong guesses of each part of the film from the others are, with the bells' middle there."""
        self.shift.fill_(shift)
        guesses = _guesses(self._own_kernel(windows), seen)
        return (
            float("inf") if guesses is None else float(((guesses - seen) / seen.std(0).clamp_min(1e-9)).square().mean())
        )

    def _own_kernel(self, windows: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
        """With the ridge; distances are from now on in units of those between these windows."""
        distances = self._distances(windows, windows)
        for j, distance in enumerate(distances):
            self.reach[j] = distance[distance > 0].median() if bool((distance > 0).any()) else 1.0
        kernel = self._kernel(distances).double()
        return kernel + RIDGE * torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)

    def _kernel(self, distances: Float[Tensor, "bells n m"]) -> Float[Tensor, "n m"]:
        return torch.exp(-((distances / self.reach[:, None, None]) ** 2) / WIDTH).mean(0)

    def _distances(self, a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "bells n m"]:
        place = torch.arange(STEPS, device=a.device) - (STEPS - 1) / 2 - self.shift
        found = []
        for bell in BELLS:
            weight = torch.exp(-0.5 * (place / bell).square()).repeat_interleave(a.shape[1] // STEPS)
            found.append(torch.cdist(a * weight, b * weight))
        return torch.stack(found)

    def _compared(self, windows: Float[Tensor, "n 16 c"]) -> Float[Tensor, "n d"]:
        return ((windows - self.mean) @ self.basis).flatten(1)


def _gain(kernel: Float[Tensor, "n n"], seen: Float[Tensor, "n outputs"]) -> Float[Tensor, "outputs"]:
    """How much farther the mouths spread than guesses of each part of the film from the others, 1 to MOST_GAIN; nearer to 1
    where the guesses are not `TRUSTED`.

    `kernel` has the ridge on its diagonal; rows are in the film's order.
    """
    guesses = _guesses(kernel, seen)
    if guesses is None:
        return torch.ones_like(seen[0])
    guess, truth = standard(guesses), standard(seen)
    trust = ((guess * truth).mean(0) / TRUSTED).clamp(0, 1)
    gain = (seen.std(0) / guesses.std(0).clamp_min(1e-9)).clamp(1, MOST_GAIN)
    return 1 + trust * (gain - 1)


def _guesses(kernel: Float[Tensor, "n n"], seen: Float[Tensor, "n outputs"]) -> Float[Tensor, "n outputs"] | None:
    """Each part of the film guessed from the others; None for a film that is too short for that."""
    index = torch.arange(len(seen), device=seen.device)
    guesses = []
    for part in index.chunk(FOLDS):
        others = index[(index < part[0] - APART) | (index > part[-1] + APART)]
        if len(others) < 2:
            return None
        mean = seen[others].mean(0)
        answers = torch.linalg.solve(kernel[others][:, others], seen[others] - mean)
        guesses.append(mean + kernel[part][:, others] @ answers)
    return torch.cat(guesses)


def standard(values: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Each column with mean 0 and deviation 1."""
    return (values - values.mean(0)) / values.std(0, correction=0).clamp_min(1e-9)
