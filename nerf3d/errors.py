"""The ways in which a command ends other than well, on purpose."""


class InputError(Exception):
    """What was given cannot be used. Its text is one sentence: what is wrong, where, and what to do about it.

    The command line program prints that sentence and ends with exit code 2.
    """


class Interrupted(Exception):
    """Ctrl-C arrived, the state was saved, and the text says where. The command line program ends with exit code 130."""


class FailedError(Exception):
    """All was done and nothing came of it; the text says what happened. The command line program ends with exit code 1."""
