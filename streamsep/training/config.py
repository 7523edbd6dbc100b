"""The configuration of one training run, as written in `configs/train/*.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamsep.models.config_checks import check_range
from streamsep.training.batch_effects import EffectsConfig
from streamsep.training.batches import BatchConfig
from streamsep.training.data import DataConfig
from streamsep.training.losses import LossConfig


@dataclass(frozen=True)
class OptimiserConfig:
    """The optimiser, its schedule, and what steadies it.

    Attributes:
        kind: "adamw", or "muon": Muon on matrices and kernels, AdamW on all else and on very large matrices.
        lr: peak learning rate.
        betas: AdamW's decay rates of the moments.
        weight_decay: AdamW's, on matrices and kernels only; with "muon" of those that Muon moves, and of nothing else.
        warm_up: steps of linear rise.
        final: last learning rate as a fraction of the peak.
        clip: largest gradient norm; larger ones are scaled down.
        ema: decay of the averaged weights.
        rescale: standard deviation towards which the initial weights of a causal model's convolutions are scaled.
    """

    kind: str = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 1e-2
    warm_up: int = 100
    final: float = 0.01
    clip: float = 5.0
    ema: float = 0.999
    rescale: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("adamw", "muon"):
            raise ValueError(f"there is no optimiser {self.kind!r}; choose adamw or muon")
        check_range("lr", self.lr, 0, 10)
        check_range("weight_decay", self.weight_decay, 0, 10)
        check_range("warm_up", self.warm_up, 0, 10**9)
        check_range("final", self.final, 0, 1)
        check_range("clip", self.clip, 1e-9, 1e9)
        check_range("ema", self.ema, 0, 1 - 1e-9)
        for beta in self.betas:
            check_range("betas", beta, 0, 1 - 1e-9)
        if self.rescale is not None:
            check_range("rescale", self.rescale, 1e-9, 1e9)


@dataclass(frozen=True)
class LoopConfig:
    """How long, and what is written when.

    Attributes:
        hours: the learning rate reaches its end after so much training time, over all resumptions.
        steps: instead of `hours`: the end in steps.
        validate_minutes: minutes between validations.
        save_minutes: minutes between saved states.
        part_megabytes: largest file of the state, which is then kept in parts; null for one file of any size.
        excerpts: excerpts of each validation song.
        excerpt_seconds: length of each.
        bf16: run the model under bfloat16 autocast (its spectrograms and the loss stay in float32).
        compile: let PyTorch fuse the step's operations; takes a minute or two at the start, and a C++ compiler (on CUDA
            also Triton).
        prefetch: draw the next batch in a thread while the model works.
        log_seconds: seconds between rows of the log; 0 for a row a step, null for 2 on a terminal and 30 elsewhere.
    """

    hours: float | None = 1.0
    steps: int | None = None
    validate_minutes: float = 10.0
    save_minutes: float = 5.0
    part_megabytes: float | None = None
    excerpts: int = 4
    excerpt_seconds: float = 8.0
    bf16: bool = False
    compile: bool = False
    prefetch: bool = False
    log_seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.hours is None) == (self.steps is None):
            raise ValueError("set either hours or steps, and the other to null")
        check_range("the schedule", self.hours or self.steps or 0, 1e-6, 10**9)
        check_range("validate_minutes", self.validate_minutes, 0, 10**9)
        check_range("save_minutes", self.save_minutes, 0, 10**9)
        check_range("excerpts", self.excerpts, 1, 10**6)
        check_range("excerpt_seconds", self.excerpt_seconds, 0.01, 86400)
        if self.part_megabytes is not None:
            check_range("part_megabytes", self.part_megabytes, 0.01, 10**9)
        if self.log_seconds is not None:
            check_range("log_seconds", self.log_seconds, 0, 10**9)

    def part(self, steps: int, hours: float) -> float:
        """How much of the schedule is done, 1 at its end."""
        if self.steps is not None:
            return steps / self.steps
        assert self.hours is not None
        return hours / self.hours


@dataclass(frozen=True)
class TrainConfig:
    """Everything about a run but where the files are.

    Attributes:
        model: preset.
        lookaheads: hops that a causal model looks ahead, one of them drawn at every step; it is validated and saved
            with the first, and its configuration tells them all. None: its own alone.
        frozen: parts of the model that keep the weights they start with, as `members.0` of a bag.
        effects: on whole batches, null for none.
        licence: of the weights; what they learnt from decides which they may have.
    """

    model: str
    lookaheads: tuple[int, ...] = ()
    frozen: tuple[str, ...] = ()
    data: DataConfig = field(default_factory=DataConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    effects: EffectsConfig | None = None
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    licence: str = "not stated"
    notes: str = ""

    def __post_init__(self) -> None:
        for hops in self.lookaheads:
            check_range("lookaheads", hops, 0, 1024)
