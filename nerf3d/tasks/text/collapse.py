"""Noticing that a run goes nowhere: nothing there, fog everywhere, or one flat colour."""

import math

from jaxtyping import Float
from torch import Tensor

from nerf3d.train import Report

SINCE = 0.35
"""Before this share of a run a field may still look like anything."""
LEAST, MOST = 0.004, 0.9
"""Mean opacities of all pictures that no object has: less is nothing, more is fog or a wall."""


THINNEST = 0.12
"""Less than this between the smallest and the largest silhouette from all around is a sheet, no object."""


class Collapsed(Exception):
    """The run has nothing to show; the text says why."""


def check_solid(opacity: Float[Tensor, "views h w"]) -> None:
    """Raises `Collapsed` where pictures from all around show nothing, a wall, or a sheet that is gone from the side."""
    covered = (opacity > 0.5).double().mean((1, 2))
    least, most = float(covered.min()), float(covered.max())
    if not bool(opacity.isfinite().all()):
        raise Collapsed("the result has places that are not numbers")
    if most < LEAST:
        raise Collapsed(f"there is nothing to see from any side (at most {100 * most:.1f} % of a picture)")
    if least > MOST:
        raise Collapsed(f"fog or a wall fills every picture (at least {100 * least:.0f} %)")
    if least < THINNEST * most:
        raise Collapsed(
            f"it is a flat sheet: from one side {100 * least:.1f} % of a picture, from another {100 * most:.0f} %"
        )


class Monitor:
    """Follows a run's reports, in smooth means. `see` raises `Collapsed`."""

    def __init__(self) -> None:
        self.opacity = math.nan
        self.rate = math.nan
        self._last: float | None = None

    def see(self, report: Report) -> None:
        opacity, samples = report.figures.get("opacity"), report.figures.get("samples", 0.0)
        if opacity is None:
            return
        self.opacity = opacity if math.isnan(self.opacity) else 0.95 * self.opacity + 0.05 * opacity
        if self._last is not None and report.seconds > self._last:
            rate = samples / (report.seconds - self._last)
            self.rate = rate if math.isnan(self.rate) else 0.95 * self.rate + 0.05 * rate
        self._last = report.seconds
        if report.progress < SINCE:
            return
        if self.opacity < LEAST:
            raise Collapsed(f"after {report.step} steps there is nothing to see (mean opacity {self.opacity:.4f})")
        if self.opacity > MOST:
            raise Collapsed(f"after {report.step} steps everything is fog (mean opacity {self.opacity:.2f})")

    def state(self) -> str:
        rate = "" if math.isnan(self.rate) else f"  {self.rate / 1000:.0f} k samples/s"
        return f"{100 * self.opacity:.0f} % of the picture filled{rate}"
