import hashlib
import json

import pytest
import torch
from PIL import Image
from torch import Tensor

from meancache.run_folder import RunFolder


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def write_run(tmp_path):
    """Writes a finished run of the given pictures or videos, (B, [T,] 3, H, W) in [0, 1]: one prompt each, seed 3."""

    def write(
        name: str,
        pictures: Tensor,
        *,
        nfe: int = 10,
        batch_size: int = 1,
        label: str = "",
        device: str = "a processor",
    ) -> RunFolder:
        run = tmp_path / name
        (run / "samples").mkdir(parents=True)
        lines = []
        for index, picture in enumerate(pictures):
            sample = f"{index:05d}-3"
            file = run / "samples" / f"{sample}.png"
            frames = [(frame * 255).round().byte().permute(1, 2, 0) for frame in picture.view(-1, *picture.shape[-3:])]
            Image.fromarray(torch.cat(frames).numpy()).save(file)
            record = {
                "sample": sample,
                "prompt_index": index,
                "prompt": f"prompt {index}",
                "category": "",
                "seed": 3,
                "noise_seed": 3,
                "file": f"samples/{sample}.png",
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "nfe": nfe,
                "denoiser_calls": nfe,
                "flops": {"denoiser": 1e12 * nfe, "pipeline": 2e12 + 1e12 * nfe},
                "batch_size": batch_size,
                "device": device,
                "peak_memory_mib": 100.0 + index,
                **({"num_frames": len(picture)} if picture.ndim == 4 else {}),
            }
            lines.append(json.dumps(record))
        (run / "records.jsonl").write_text("\n".join(lines) + "\n")
        (run / "config.yaml").write_text(
            f"label: {json.dumps(label or name)}\nmethod: {{name: {name}}}\nmodel: {{name: tiny}}\n"
        )
        (run / "DONE").touch()
        return RunFolder(run)

    return write


@pytest.fixture
def pictures() -> Tensor:
    """Two smooth pictures with an edge, (2, 3, 64, 64)."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    disc = ((rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.1).float()
    picture = torch.stack([columns, rows, disc])
    return torch.stack([picture, picture.flip(0)])


@pytest.fixture
def videos(pictures) -> Tensor:
    """The pictures gliding to the right, (2, 4, 3, 64, 64)."""
    return torch.stack([pictures.roll(shift, dims=-1) for shift in (0, 2, 4, 6)], dim=1)


@pytest.fixture
def add_noise():
    """Adds the same noise of the given strength on every call."""

    def add(pictures: Tensor, strength: float) -> Tensor:
        noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
        return (pictures + strength * noise).clamp(0, 1)

    return add
