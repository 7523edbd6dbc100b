"""Read the constructor arguments kept in official HTDemucs checkpoints; no weights are touched here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamsep.errors import StreamsepError
from streamsep.models.htdemucs import HTDemucsConfig

# official name -> (our field, the official default)
SIZES: dict[str, tuple[str, Any]] = {
    "audio_channels": ("audio_channels", 2),
    "channels": ("channels", 48),
    "depth": ("depth", 4),
    "nfft": ("nfft", 4096),
    "bottom_channels": ("bottom_channels", 0),
    "t_layers": ("layers", 5),
    "t_heads": ("heads", 8),
    "t_hidden_scale": ("hidden_scale", 4.0),
    "t_dropout": ("dropout", 0.0),
    "dconv_comp": ("dconv_compress", 8),
    "samplerate": ("sample_rate", 44100),
    "segment": ("segment", 10),
    "use_train_segment": ("use_train_segment", True),
}

# official name -> (the official default, the values that this model implements)
FIXED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "growth": (2, (2,)),
    "cac": (True, (True,)),
    "rewrite": (True, (True,)),
    "multi_freqs": (None, (None, [], ())),
    "freq_emb": (0.2, (0.2,)),
    "emb_scale": (10, (10,)),
    "kernel_size": (8, (8,)),
    "stride": (4, (4,)),
    "context": (1, (1,)),
    "context_enc": (0, (0,)),
    "dconv_mode": (1, (3,)),
    "dconv_depth": (2, (2,)),
    "t_emb": ("sin", ("sin",)),
    "t_norm_in": (True, (True,)),
    "t_group_norm": (False, (False,)),
    "t_norm_first": (True, (True,)),
    "t_norm_out": (True, (True,)),
    "t_max_period": (10000.0, (10000.0,)),
    "t_layer_scale": (True, (True,)),
    "t_gelu": (True, (True,)),
    "t_weight_pos_embed": (1.0, (1.0,)),
    "t_sin_random_shift": (0, (0,)),
    "t_sparse_self_attn": (False, (False,)),
    "t_sparse_cross_attn": (False, (False,)),
    "t_cross_first": (False, (False,)),
}

# No effect on what a model computes once the above are fixed: masks without complex-as-channels, layers after
# a merge that never comes, other position embeddings, sparse attention, starting values, and the optimiser's.
IDLE = frozenset(
    {
        "wiener_iters",
        "end_iters",
        "wiener_residual",
        "multi_freqs_depth",
        "emb_smooth",
        "time_stride",
        "norm_groups",
        "dconv_init",
        "t_max_positions",
        "t_norm_in_group",
        "t_weight_decay",
        "t_lr",
        "t_cape_mean_normalize",
        "t_cape_augment",
        "t_cape_glob_loc_scale",
        "t_mask_type",
        "t_mask_random_seed",
        "t_sparse_attn_window",
        "t_global_window",
        "t_sparsity",
        "t_auto_sparsity",
        "rescale",
    }
)


def config_from_official(sources: Sequence[str], **kwargs: Any) -> HTDemucsConfig:
    """Translate the arguments of the official constructor; absent ones take its defaults.

    Args:
        sources: names of the stems.
        kwargs: any of the official arguments; `segment` in seconds, as a number or a Fraction.

    Raises:
        StreamsepError: an argument asks for something that `HTDemucs` does not implement.
    """
    _refuse_unknown(kwargs)
    for name, (default, allowed) in FIXED.items():
        value = kwargs.get(name, default)
        if value not in allowed:
            raise _unsupported(name, value)
    sizes = {ours: kwargs.get(name, default) for name, (ours, default) in SIZES.items()}
    _refuse_odd_shapes(kwargs, sizes)
    try:
        # whole samples, rounded down as the official models do
        sizes["segment"] = int(sizes["segment"] * sizes["sample_rate"]) / sizes["sample_rate"]
        return HTDemucsConfig(sources=tuple(sources), **sizes)
    except (ValueError, TypeError, OverflowError) as error:
        raise StreamsepError(f"this HTDemucs checkpoint cannot be used: {error}") from None


def _refuse_unknown(kwargs: dict[str, Any]) -> None:
    known = SIZES.keys() | FIXED.keys() | IDLE | {"channels_time", "norm_starts"}
    for name in kwargs:
        if name not in known:
            raise _unsupported(name, kwargs[name])


def _refuse_odd_shapes(kwargs: dict[str, Any], sizes: dict[str, Any]) -> None:
    """Refuse a time branch of another width, and group norms inside the encoders and decoders."""
    if kwargs.get("channels_time") not in (None, sizes["channels"]):
        raise _unsupported("channels_time", kwargs["channels_time"])
    norm_starts = kwargs.get("norm_starts", 4)
    if norm_starts < sizes["depth"]:
        raise _unsupported("norm_starts", norm_starts)


def _unsupported(name: str, value: object) -> StreamsepError:
    return StreamsepError(f"this HTDemucs checkpoint cannot be used: {name}={value!r} is not implemented")
