"""The one exception that the command lines turn into a line of text and exit status 2."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: which key, argument or file, what was expected, what came, what to do.
    """
