"""How threads wait: one setting, which counts only before torch and numba are loaded."""

import os


def rest_between_tasks() -> None:
    """Threads that have nothing to do sleep. Told before torch and numba are loaded, which have a pool of threads each.

    Else those of one pool spin while the other's work: `nerf3d avatar fit`, which asks both in turn, made 640 steps in two
    minutes on two cores, and 1355 in a minute and a half with this. Who says something in OMP_WAIT_POLICY is heard.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
