"""Noticing that a run goes nowhere: nothing there, fog everywhere, or one flat colour."""

import math

from nerf3d.train import Report

SINCE = 0.35
"""Before this share of a run a field may still look like anything."""
LEAST, MOST = 0.004, 0.9
"""Mean opacities of all pictures that no object has: less is nothing, more is fog or a wall."""


class Collapsed(Exception):
    """The run has nothing to show; the text says why."""


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
