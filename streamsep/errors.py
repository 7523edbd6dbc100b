"""Errors that a user can mend: one sentence that names the cure."""


class StreamsepError(Exception):
    """Anything the user can put right; the command line prints the message and exits with 1."""


def missing(package: str, extra: str) -> StreamsepError:
    """Return the error for an absent optional part.

    Args:
        package: name of the distribution that could not be imported.
        extra: the extra of streamsep that brings it.
    """
    return StreamsepError(f"{package} is not installed; run: pip install 'streamsep[{extra}]'")
