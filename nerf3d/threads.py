"""How threads wait: settings that count only before torch and numba are loaded."""

import os

# Turns of an empty loop before a thread sleeps; libgomp's own number is 300,000.
TURNS = "2000"
# Which of the pools that numba knows it takes, the first that is there. TBB's, its own first choice, is left to the last but
# one: where other programs keep the cores busy it spins for minutes when a program ends (a film of one second beside two
# busy loops on two cores: more than 150 s with it, 34 and 41 s with OpenMP's; alone they are equally fast, and the last one
# a fifth slower).
POOLS = "omp tbb workqueue"


def rest_between_tasks() -> None:
    """Threads that have nothing to do sleep soon. Told before torch and numba are loaded, which have a pool of threads each.

    Else those of one pool spin while the other's work. On two cores (AMD EPYC), steps in the time given:

        GOMP_SPINCOUNT   `fit`, 24 s   `gen fit` of diffae, 30 s   `text`   800 x 800 frames a second
        unset                    537                        171    104 s                         0.51
        0 (PASSIVE)              953                        110    126 s                         0.68
        300                      901                        126    115 s                         0.76
        2000                    1062                        214     90 s                         0.77
        20000                    846                        201
        100000                   722                        148

    A thread that sleeps at once has to be woken for each of torch's many small tasks. Who says something in
    OMP_WAIT_POLICY or GOMP_SPINCOUNT is heard; runtimes other than libgomp (macOS) do not listen.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", TURNS)
    os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", POOLS)
