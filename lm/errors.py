"""The one exception for what a user gave us and can mend."""


class InputError(ValueError):
    """A mistake in what the user gave: a file, an option, a configuration.

    The message is one line that names the thing, says what was wrong with it, and gives the
    remedy; the command line prints it as it is, without a traceback. Defined here because
    ``lm`` is the lowest package; ``asr`` and ``st`` raise the same class.
    """
