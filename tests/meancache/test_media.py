import imageio.v3 as imageio
import numpy as np
from PIL import Image

from meancache.media import mp4, png


def _frames(count):
    """A white square that glides over blue."""
    frames = np.zeros((count, 32, 48, 3), dtype=np.uint8) + np.array([20, 40, 200], dtype=np.uint8)
    for k, frame in enumerate(frames):
        frame[8:24, 2 + 4 * k : 18 + 4 * k] = 255
    return [Image.fromarray(frame) for frame in frames]


def test_a_strip_holds_every_frame_exactly():
    frames = _frames(5)
    strip = imageio.imread(png(frames), extension=".png")
    assert strip.shape == (5 * 32, 48, 3)
    assert np.array_equal(strip.reshape(5, 32, 48, 3), np.stack(frames))
    assert np.array_equal(imageio.imread(png(frames[0]), extension=".png"), frames[0])


def test_an_mp4_shows_every_frame_at_its_rate(tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(mp4(_frames(6), fps=8))
    shown = imageio.imread(path, plugin="FFMPEG")
    assert shown.shape == (6, 32, 48, 3)
    assert np.abs(shown.astype(float) - np.stack(_frames(6))).mean() < 5
    assert imageio.immeta(path, plugin="FFMPEG")["fps"] == 8
