"""Several processes that train one model: each draws its own rows of the batch, gradients are averaged, rank 0 writes.

The processes are started by `torchrun`, which tells them of each other in the environment; without it there is a
world of one. Knows nothing of batches or files.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import distributed, nn

from streamsep.errors import StreamsepError

# Longer than decoding a data set or validating may take: one process does these while the others wait.
_PATIENCE = timedelta(hours=4)
_LETTING_GO = 0.5  # seconds


@dataclass(frozen=True)
class World:
    """This process among all that train together.

    Attributes:
        rank: number of this process.
        size: how many there are.
        device: where this one computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process is the one that decides and writes."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module as it is called in training; where there are several processes its gradients are averaged."""
        if self.size == 1:
            return module
        where = [self.device] if self.device.type == "cuda" else None
        with warnings.catch_warnings():  # the newest release has another name for it, which the oldest does not know
            warnings.simplefilter("ignore", FutureWarning)
            return nn.parallel.DistributedDataParallel(module, device_ids=where, broadcast_buffers=False)

    def agree(self, values: Sequence[float]) -> list[float]:
        """What the first process says of `values`."""
        told = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            distributed.broadcast(told, 0)
        return told.tolist()

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean over the processes of each of `values`, which all name alike."""
        if self.size == 1:
            return dict(values)
        total = torch.tensor(list(values.values()), dtype=torch.float64)
        distributed.all_reduce(total)
        return dict(zip(values, (total / self.size).tolist(), strict=True))

    @contextmanager
    def one_by_one(self) -> Iterator[None]:
        """The first process does this alone, the others after it: they find what it has put on the disk.

        Raises:
            StreamsepError: in the others, if it failed; it tells why itself.
        """
        if not self.first and not self.agree([0.0])[0]:
            raise StreamsepError(f"process {self.rank} ends, for the first one could not go on")
        done = False
        try:
            yield
            done = True
        finally:
            if self.first:
                self.agree([float(done)])


@contextmanager
def open_world(device: torch.device) -> Iterator[World]:
    """The world that `torchrun` describes in the environment; on `cuda` each process of a machine takes a GPU."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # gloo also beside NCCL: what is told and agreed lies in the memory of the processor.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield World(int(os.environ["RANK"]), size, device)
    finally:
        distributed.destroy_process_group()
        # The wrapped model keeps the group's threads alive. One that lets go of its last tensor as the interpreter ends
        # aborts the process (pytorch issue 190489), so they do it now.
        time.sleep(_LETTING_GO)
