"""Log-mel spectrograms on a scale that each recording sets for itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEPS = 4_096  # see `LogMel`


@dataclass(frozen=True)
class LogMel:
    """Settings of a spectrogram, and the function that makes it.

    sample_rate_hz; window and hop, in samples; frames, of the result; mels: bands (HTK scale) from lowest_hz to half
    the sample rate; range_db: below the item's peak, what is fainter is 0.

    Power is given in decibels relative to the loudest band and frame of the same recording: 1 is that peak, 0 is
    range_db below it or fainter, and the silence with which short recordings are filled up at the end. Only the
    recording itself sets its scale, so its loudness is gone and no statistic passes between parts of a split. A
    recording of pure silence is all 0.

    Values are computed in float64 and rounded to 1/STEPS of the range, so that machines whose Fourier transforms differ
    in the last bits produce the same bytes, and a run keeps its key on another node.
    """

    sample_rate_hz: int
    window: int
    hop: int
    frames: int
    mels: int
    lowest_hz: float
    range_db: float

    def __call__(self, recordings: Sequence[np.ndarray]) -> np.ndarray:
        """Spectrograms of recordings, each (n_samples,): (N, 1, mels, frames) float32 in [0, 1]."""
        import torch
        from torchaudio.transforms import MelSpectrogram

        # The window and the filters are made in the default precision: single is not reproducible to the last bit.
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            mel_power = MelSpectrogram(
                sample_rate=self.sample_rate_hz,
                n_fft=self.window,
                hop_length=self.hop,
                f_min=self.lowest_hz,
                n_mels=self.mels,
                center=False,  # no reflected samples at the start
            )
        finally:
            torch.set_default_dtype(default)
        length = self.window + (self.frames - 1) * self.hop
        block = 250  # recordings at a time: bounds memory to some 60 MB
        spectrograms = np.zeros((len(recordings), 1, self.mels, self.frames), dtype=np.float32)
        for start in range(0, len(recordings), block):
            waves = np.zeros((len(recordings[start : start + block]), length))
            for row, samples in zip(waves, recordings[start : start + block], strict=True):
                row[: len(samples)] = samples[:length]
            power = mel_power(torch.from_numpy(waves))
            peak = power.amax(dim=(1, 2), keepdim=True)
            floor = 10 ** (-self.range_db / 10)
            decibels = 10 * torch.log10((power / peak).nan_to_num(nan=0.0).clamp_min(floor))
            spectrograms[start : start + block, 0] = torch.round((1 + decibels / self.range_db) * STEPS) / STEPS
        return spectrograms
