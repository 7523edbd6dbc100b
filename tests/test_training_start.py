"""Where a run starts, whom it learns from, and what it can be asked to do with the state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.backends.debugging import aot_eager

from streamsep.errors import StreamsepError
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from streamsep.models.lookahead import with_lookahead
from streamsep.models.registry import build_preset, load_model
from streamsep.training.batches import Batch
from streamsep.training.losses import LossConfig
from streamsep.training.objective import Objective, timing
from streamsep.training.optimiser import Average, OptimiserConfig, adamw
from streamsep.training.origin import check_start, together
from streamsep.training.start import freeze, rescale, role, start_from, take_matching
from streamsep.training.state import Progress, load_state, remove_state, save_state
from streamsep.training.teacher import Teacher
from tests.models import tiny, tiny_config
from tests.toys import ToySeparator

OFFLINE = HTDemucsConfig(channels=16, depth=2, nfft=256, bottom_channels=0, layers=1, heads=2, segment=0.1)
SOURCES = ("drums", "bass", "other", "vocals")


def test_convolutions_of_an_offline_model_are_taken_where_they_fit(tmp_path: Path) -> None:
    offline, causal = HTDemucs(OFFLINE), build_preset("live-23-small")
    save_checkpoint(offline, tmp_path / "offline.safetensors", {})
    before = {name: value.clone() for name, value in causal.state_dict().items()}
    told = take_matching(causal, tmp_path / "offline.safetensors")
    after, given = causal.state_dict(), offline.state_dict()
    pairs = {
        "waveform.encoders.0.layers.0.conv.weight": "tencoder.0.conv.weight",
        "waveform.encoders.1.layers.0.conv.bias": "tencoder.1.conv.bias",
        "waveform.encoders.1.layers.0.conv.weight": "tencoder.1.conv.weight",
    }
    for ours, theirs in pairs.items():
        assert torch.equal(after[ours], given[theirs]) and ours in told
    wider = "spectrogram.encoders.1.layers.0.conv.weight"
    assert torch.equal(after[wider], before[wider]) and wider not in told
    kept = [name for name in after if name not in told]
    assert all(torch.equal(after[name], before[name]) for name in kept) and len(kept) > len(after) / 2


def test_roles() -> None:
    assert role("tdecoder.2.conv_tr.bias") == role("waveform.decoders.2.layers.1.conv.bias")
    assert role("encoder.0.rewrite.weight") == role("spectrogram.encoders.0.layers.4.function.0.weight")
    assert role("waveform.encoders.0.layers.2.blocks.0.conv.conv.weight").endswith("blocks.0.conv.conv.weight")


def test_a_run_may_start_from_weights_by_their_name() -> None:
    shipped, model = load_model("live-12-small"), build_preset("live-12-small")
    start_from(model, "live-12-small")
    assert all(torch.equal(value, shipped.state_dict()[name]) for name, value in model.state_dict().items())
    assert "taken from live-12-small" in take_matching(build_preset("live-6-small"), "live-12-small")
    with pytest.raises(StreamsepError, match="did you mean live-12-small"):
        start_from(model, "live-12-smal")


def test_a_checkpoint_of_nothing_that_fits_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tiny(), tmp_path / "tiny.safetensors", {})
    with pytest.raises(StreamsepError, match="no weight"):
        take_matching(nn.Linear(3, 3), tmp_path / "tiny.safetensors")
    with pytest.raises(StreamsepError, match="another model"):
        start_from(HTDemucs(OFFLINE), tmp_path / "tiny.safetensors")


def test_rescaling_brings_weights_nearer_and_leaves_silence_silent() -> None:
    first, last = nn.Conv1d(64, 64, 8), nn.Conv1d(64, 8, 8)
    nn.init.normal_(first.weight, std=0.4)
    nn.init.zeros_(last.weight)
    assert first.bias is not None
    nn.init.ones_(first.bias)
    scale = (float(first.weight.detach().std()) / 0.1) ** 0.5
    rescale(nn.Sequential(first, last), 0.1)
    assert float(first.weight.detach().std()) == pytest.approx(0.2, rel=0.03)
    torch.testing.assert_close(first.bias.detach(), torch.full((64,), 1 / scale))
    assert not last.weight.any()


def test_a_late_teacher_in_another_order_is_brought_into_line() -> None:
    toy = ToySeparator(hop=64, latency=96)
    toy.forward = lambda mix: toy.step(mix, toy.init_state(mix.shape[0], 1000))[0]
    mix = torch.randn(2, 2, 1000)
    answer = Teacher(toy, ("vocals", "drums", "bass", "other"))(mix)
    assert answer.shape == (2, 4, 2, 1000)
    for index, gain in enumerate((0.125, 0.5, 0.25, 0.125)):
        torch.testing.assert_close(answer[:, index], gain * mix)
    with pytest.raises(StreamsepError, match="choose another"):
        Teacher(toy, ("drums", "vocals"))


def test_an_offline_teacher_hears_just_what_it_is_given() -> None:
    model = HTDemucs(OFFLINE)
    mix = torch.randn(1, 2, 12000)  # longer than its segment
    taught = Teacher(model, SOURCES)(mix)
    torch.testing.assert_close(taught, model.separate(mix))
    assert not any(parameter.requires_grad for parameter in model.parameters())


def make_batch(frames: int = 16 * 64) -> Batch:
    sources = 0.1 * torch.randn(2, 4, 2, frames)
    return Batch(sources.sum(1), sources, torch.eye(4).expand(2, 4, 4))


CONFIG = LossConfig(warm=16 * 24 / 44100, ffts=(256,))


@pytest.mark.parametrize("bf16", [False, True])
def test_a_warm_state_gives_the_same_loss_and_no_gradient_through_the_past(bf16: bool) -> None:
    model, batch = tiny().train(), make_batch()
    whole, warm = (Objective(model, replace(CONFIG, warm_state=state), bf16=bf16) for state in (False, True))
    expected, got = whole(batch)[0], warm(batch)[0]
    assert got.item() == pytest.approx(expected.item(), rel=2e-2 if bf16 else 1e-5)

    def gradient(objective: Objective) -> Tensor:
        mix = batch.mix.clone().requires_grad_()
        objective(batch._replace(mix=mix))[0].backward()
        assert mix.grad is not None
        return mix.grad

    assert gradient(whole)[..., : 16 * 20].any()
    cut = gradient(warm)
    assert not cut[..., : 16 * 20].any() and cut[..., 16 * 30 :].any()
    for parameter in model.parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all())


def test_a_compiled_step_has_the_same_loss_and_gradients() -> None:
    """By the tracing and the derivatives of the compiler alone: its C++ takes minutes, and is PyTorch's to test."""
    whole = make_batch()
    known = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]).expand(*whole.known.shape)
    batches = whole, whole._replace(known=known), whole._replace(band=torch.full(whole.known.shape[:2], 9000.0))
    found, graphs = [], []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return aot_eager(graph, inputs)

    for fused in (False, True):
        model = tiny().train()
        objective = Objective(model, replace(CONFIG, energy=0.3, rests=0.1))
        if fused:
            objective.compile_networks(backend)
        losses = [objective(batch)[0] for batch in batches]
        torch.stack(losses).sum().backward()
        found.append([*(loss.detach() for loss in losses), *(p.grad for p in model.parameters())])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)
    assert len(graphs) == 1, "one graph, whatever the batch knows"


def test_only_our_networks_are_compiled() -> None:
    with pytest.raises(StreamsepError, match="not compiled; set loop: compile to false"):
        Objective(nn.Linear(2, 2), CONFIG).compile_networks()


def test_the_offline_model_trains_through_the_same_objective_but_has_no_state() -> None:
    model = HTDemucs(OFFLINE).train()
    objective = Objective(model, replace(CONFIG, warm=0.0), bf16=True)
    assert timing(model) == (1, 0)
    objective(make_batch(4096))[0].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with pytest.raises(StreamsepError, match="no state"):
        Objective(model, replace(CONFIG, warm_state=True))


def test_a_twin_with_look_ahead_has_the_same_weights() -> None:
    model = tiny()
    assert with_lookahead(model, 0) is model
    twin, alone = with_lookahead(model, 2), CausalHTDemucs(tiny_config(2)).eval()
    assert (twin.latency, twin.training) == (model.latency + 2 * model.hop, False)
    assert all(a is b for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    alone.load_state_dict(model.state_dict())
    x = 0.1 * torch.randn(1, 2, 20 * model.hop)
    with torch.inference_mode():
        assert torch.equal(twin(x), alone(x)) and not torch.equal(twin(x), model(x))
    with pytest.raises(StreamsepError, match="only a causal model with attention can look ahead"):
        with_lookahead(HTDemucs(OFFLINE), 2)


def test_steps_draw_their_look_ahead_and_train_the_same_weights() -> None:
    model, batch = tiny().train(), make_batch(4096)
    config = LossConfig(warm=0.0, ffts=(256,))
    objective = Objective(model, config, (0, 3))
    wanted = {float(Objective(model, config, (hops,))(batch)[0].detach()) for hops in (0, 3)}
    heard = set()
    for seed in range(8):
        torch.manual_seed(seed)
        model.zero_grad()
        loss, _ = objective(batch, objective.draw())
        heard.add(float(loss.detach()))
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
    assert heard == wanted and len(wanted) == 2
    assert len(list(objective.parameters())) == len(list(model.parameters()))


def test_a_state_in_parts_is_the_same_state(tmp_path: Path) -> None:
    path, model = tmp_path / "state.pt", tiny()
    optimiser, average = adamw(model, OptimiserConfig()), Average(model, 0.9)
    for step in (1, 2):
        save_state(path, model, average, optimiser, Progress(step=step), part_megabytes=0.02)
    files = sorted(tmp_path.iterdir())
    assert len(files) > 2 and all(file.stat().st_size <= 20000 for file in files)
    assert all(file.name.startswith("state-2-") for file in files if file != path)
    other = build_like(model)
    assert load_state(path, other, Average(other, 0.9), adamw(other, OptimiserConfig())).step == 2
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    files[0].write_bytes(files[0].read_bytes()[:-1] + b"?")
    with pytest.raises(StreamsepError, match="not from the same save"):
        load_state(path, other, Average(other, 0.9), adamw(other, OptimiserConfig()))
    remove_state(path)
    assert not list(tmp_path.iterdir())


def test_an_origin_names_all_that_was_learnt_from_once() -> None:
    before = {"data": "real, rend", "teacher": "htdemucs"}
    assert together(before, {"data": "rend, more", "voice": "v", "instruments": "i"}) == {
        "data": "real, rend, more",
        "teacher": "htdemucs",
        "voice": "v",
        "instruments": "i",
    }
    with pytest.raises(StreamsepError, match="began without --init; leave --init out"):
        check_start(Path("run"), before, {"init": "a"})
    check_start(Path("run"), {}, {"init": "a"})
    with pytest.raises(StreamsepError, match=r"began from one/last\.safetensors; leave --init out"):
        check_start(Path("run"), {"init": "one/last.safetensors"}, {"init": "two/last.safetensors"})


def test_a_model_that_is_frozen_whole_is_refused() -> None:
    with pytest.raises(StreamsepError, match="frozen leaves no weight to learn"):
        freeze(tiny(), [name for name, _ in tiny().named_children()])


def build_like(model: nn.Module) -> nn.Module:
    other = tiny()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    return other
