"""The one exception for what a user gave us and can mend, and the remedy of a full disk."""

from __future__ import annotations

import errno


class InputError(ValueError):
    """A mistake in what the user gave: a file, an option, a configuration.

    The message is one line that names the thing, says what was wrong with it, and gives the
    remedy; the command line prints it as it is, without a traceback. Defined here because
    ``lm`` is the lowest package; ``asr`` and ``st`` raise the same class.
    """


def remedy_of(error: OSError, otherwise: str) -> str:
    """What to do about a file that could not be written: where the disk, or a quota, is full, room alone helps."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "Make room on the disk, or write to another." if full else otherwise
