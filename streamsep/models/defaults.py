"""Names of the models that are taken where none is given; apart, so that `--help` can tell them without torch."""

STREAM_DEFAULT = "live-23-small"
FILE_DEFAULT = "live-23-bag"  # the better one, where no clock runs
OFFLINE_DEFAULTS = ("htdemucs", "htdemucs-small")  # the first whose weights are at hand
