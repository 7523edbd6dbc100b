"""Errors that a user can mend: one sentence that names the cure."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

_P = ParamSpec("_P")


class StreamsepError(Exception):
    """Anything the user can put right; the command line prints the message and exits with 1."""


def missing(package: str, extra: str) -> StreamsepError:
    """Return the error for an absent optional part.

    Args:
        package: name of the distribution that could not be imported.
        extra: the extra of streamsep that brings it.
    """
    return StreamsepError(f"{package} is not installed; run: pip install 'streamsep[{extra}]'")


def telling(program: str) -> Callable[[Callable[_P, int]], Callable[_P, int]]:
    """Decorate a script's `main`: what the user can mend is told on stderr in one sentence, and 1 returned.

    Ctrl-C is told as well, and 130 returned.

    Args:
        program: name that the sentence begins with.
    """

    def decorate(main: Callable[_P, int]) -> Callable[_P, int]:
        @wraps(main)
        def told(*args: _P.args, **kwargs: _P.kwargs) -> int:
            try:
                return main(*args, **kwargs)
            except StreamsepError as error:
                print(f"{program}: error: {error}", file=sys.stderr)
                return 1
            except KeyboardInterrupt:
                print(f"{program}: interrupted", file=sys.stderr)
                return 130

        return told

    return decorate
