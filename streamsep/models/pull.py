"""Fetches official weights from the Hugging Face hub into the user's cache. The only module that uses the network."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from streamsep.errors import StreamsepError, missing
from streamsep.models.checkpoint import load_checkpoint
from streamsep.models.official_checkpoint import read_bag
from streamsep.models.registry import OFFICIAL_REPOSITORIES, cache_folder, describe_unpullable

TIMEOUT = 10.0  # seconds to wait for the first answer


def pull_model(name: str, *, endpoint: str | None = None) -> Path:
    """Download the official release `name`, verify it by loading it safely, and place it in the cache.

    All files are of one commit. They are gathered in a temporary folder, which becomes
    CACHE/models/NAME only when the model in it has been built; what was there before stays until then.

    Args:
        name: a key of `OFFICIAL_REPOSITORIES`.
        endpoint: address of the hub; HF_ENDPOINT or the public one if none is given.

    Returns:
        The folder that holds the model.

    Raises:
        StreamsepError: unknown name, no huggingface_hub, no network, a broken download, or a full or read-only disk.
    """
    if name not in OFFICIAL_REPOSITORIES:
        raise StreamsepError(describe_unpullable(name))
    place = cache_folder() / "models" / name
    hub = _Hub(OFFICIAL_REPOSITORIES[name], endpoint)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        gathering = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=place.parent))
    except OSError as error:
        raise StreamsepError(f"cannot write into {place.parent}: {error.strerror}; set STREAMSEP_CACHE") from None
    try:
        fresh = gathering / "new"
        _gather(hub, name, fresh)
        load_checkpoint(fresh)
        _replace_folder(fresh, place, gathering / "old")
    finally:
        shutil.rmtree(gathering, ignore_errors=True)
    return place


class _Hub:
    """One repository at one commit."""

    def __init__(self, repository: str, endpoint: str | None) -> None:
        try:
            import huggingface_hub
        except ImportError:
            raise missing("huggingface_hub", "hub") from None
        self._hub = huggingface_hub
        self._repository = repository
        self._endpoint = endpoint or os.environ.get("HF_ENDPOINT") or None
        api = huggingface_hub.HfApi(endpoint=self._endpoint)
        self._commit = self._ask(lambda: api.model_info(repository, timeout=TIMEOUT).sha)

    def fetch(self, filename: str, folder: Path) -> Path:
        """Download one file into `folder`, with a progress bar on stderr."""
        where = {"revision": self._commit, "endpoint": self._endpoint, "local_dir": folder}
        return Path(self._ask(lambda: self._hub.hf_hub_download(self._repository, filename, **where)))

    def _ask(self, request: Any) -> Any:
        try:
            return request()
        # The hub's client raises its own errors, those of its transport, and OSError.
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            source = f"{self._repository} from {self._endpoint or self._hub.constants.ENDPOINT}"
            raise StreamsepError(
                f"cannot fetch {source} ({reason}); check the network, HF_ENDPOINT and free space, then try again"
            ) from None


def _gather(hub: _Hub, name: str, folder: Path) -> None:
    bag = read_bag(hub.fetch(f"{name}.yaml", folder))
    for signature in dict.fromkeys(bag.models):
        hub.fetch(f"{signature}.safetensors", folder)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes


def _replace_folder(fresh: Path, place: Path, aside: Path) -> None:
    try:
        if place.exists():
            place.rename(aside)
        fresh.rename(place)
    except OSError as error:
        if aside.exists() and not place.exists():
            aside.rename(place)
        raise StreamsepError(f"cannot write {place}: {error.strerror}; remove it by hand and try again") from None
