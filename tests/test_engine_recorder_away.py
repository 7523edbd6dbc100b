"""A recording that ends while no stems come: the mix is kept, with silence for its stems."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.recorder_band import LATENCY, RATE, Band, read


def test_a_worker_that_is_away_at_the_end_costs_the_stems_alone(tmp_path: Path) -> None:
    band = Band(20000, mix_room=30000, stems_room=30000)
    recorder = band.recorder(tmp_path)
    recorder.start()
    band.rings[0].write(band.mix)
    band.rings[1].write(band.late[:, :5000])
    sounds = read(recorder.stop(10))
    whole, known = 20000 - LATENCY, 5000 - LATENCY
    assert {sound.shape for sound in sounds.values()} == {(2, whole)}
    np.testing.assert_allclose(sounds["mix"], band.mix[:, :whole], atol=1e-6)
    np.testing.assert_allclose(sounds["bass"][:, :known], band.stems[2:4, :known], atol=1e-6)
    assert not sounds["bass"][:, known:].any()
    assert recorder.error == f"the stems of the last {(whole - known) / RATE:.1f} s are silent: none came any more"


def test_stems_that_are_merely_late_end_the_recording_where_they_are(tmp_path: Path) -> None:
    band = Band(20000, mix_room=30000, stems_room=30000)
    recorder = band.recorder(tmp_path)
    recorder.start()
    band.rings[0].write(band.mix)
    band.rings[1].write(band.late[:, : 20000 - RATE // 2])
    sounds = read(recorder.stop(10))
    assert {sound.shape for sound in sounds.values()} == {(2, 20000 - RATE // 2 - LATENCY)}
    assert recorder.error is None
