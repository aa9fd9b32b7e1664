"""The exception that the commands report as one line of text with exit status 2."""


class InputError(ValueError):
    """Something that the user gave on a command line or in a file cannot be used.

    The message is one line. It names the key, argument or file, and says what was expected, what was found and what to
    do.
    """
