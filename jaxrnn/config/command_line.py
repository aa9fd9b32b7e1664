"""What all commands share: logging, and errors as one line of text with exit status 2."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from jaxrnn.errors import InputError


class ArgumentParser(argparse.ArgumentParser):
    """An argument parser that reports an error as one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Raises InputError, which `run` reports."""
        raise InputError(f"{message} (see --help)")


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Runs a command with the program's arguments and exits with its status.

    An InputError ends the program with one line on standard error and status 2.

    Args:
      main: The command: takes the arguments and returns the exit status.
    """
    logger = logging.getLogger("jaxrnn")
    logger.addHandler(logging.StreamHandler())  # prints only the message, to standard error
    logger.setLevel(logging.INFO)
    logger.propagate = False  # other libraries add handlers to the root logger, which would print each message again
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        status = 2
    except BrokenPipeError:  # nobody reads the output any more; Python must not fail to flush it at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:  # for example a full disk, a file name that is too long, or missing permissions
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
