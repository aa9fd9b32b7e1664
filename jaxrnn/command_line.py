"""What the three command lines share: one line and status 2 for what cannot be used, logging, `--help`."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from jaxrnn.errors import InputError


class ArgumentParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with status 2."""
        raise InputError(f"{message} (see --help)")


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Runs a command with the program's arguments and exits with its status.

    What the user gave and cannot be used ends with one line on standard error and status 2.
    """
    logger = logging.getLogger("jaxrnn")
    logger.addHandler(logging.StreamHandler())  # the message alone, on standard error
    logger.setLevel(logging.INFO)
    logger.propagate = False  # other libraries give the root logger handlers of their own
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        status = 2
    except BrokenPipeError:  # the reader of our output has gone: nothing is left to say, also at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:  # a full disk, a name that is too long, a file that may not be read
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
