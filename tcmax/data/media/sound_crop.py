"""The random crop of sound in CREMA-D, AVE and VGGSound, and the size of the spectrogram made of it (methods §1.3)."""

from tcmax.seeding import derive

STFT_RATE_HZ = 22_050
STFT_SECONDS = 5  # of sound in one feature
TILED_SECONDS = 10  # a shorter recording is repeated beyond this, so that a crop can start anywhere in 0-5 s
STFT_WINDOW, STFT_HOP = 256, 128
STFT_SHAPE = (1, STFT_WINDOW // 2 + 1, 1 + STFT_SECONDS * STFT_RATE_HZ // STFT_HOP)
N_STARTS = (TILED_SECONDS - STFT_SECONDS) * STFT_RATE_HZ + 1  # samples at which a crop may start, both ends included


def crop_start(dataset: str, clip: str, seed: int) -> int:
    """First sample of a clip's crop, uniform on 0..5 s at 22,050 Hz, both ends included."""
    return derive("sound crop", dataset, clip, seed) % N_STARTS
