"""Models that are taken where none is given, and how a model's file ends; apart, so that `--help` needs no torch."""

STREAM_DEFAULT = "live-23-small"
FILE_DEFAULT = "bidirectional-small"  # it hears the whole song
STREAMED_FILE_DEFAULT = "live-23-bag"  # the better one that streams, where no clock runs
OFFLINE_DEFAULTS = ("htdemucs", "htdemucs-small", "bidirectional-small")  # the first whose weights are at hand
MODEL_ENDINGS = (".safetensors", ".json", ".th", ".yaml", ".yml")  # of files that hold or describe a model
