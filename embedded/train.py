"""Train an embedded model from nothing: `python -m embedded.train model=tiny_flux`; tiny_qwen; tiny_hunyuan.

Every stage writes a checkpoint under `output` and is skipped or resumed when that is found, also after a kill.
Options are `key=value`, see `embedded.training.options.TinyConfig`.
"""

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from embedded.families.registry import family
from embedded.training.export import export
from embedded.training.flow import train_distil, train_flow, train_images
from embedded.training.options import STAGES, TinyConfig, read_options
from embedded.training.pictures import draw_pictures
from embedded.training.text import train_text
from embedded.training.vae import cache_latents, train_decoder, train_vae
from experiments.errors import run_program


def stages(config: TinyConfig) -> list[str]:
    """The stages to run, in order."""
    chain = [name for name in STAGES if name != "all"]
    if not config.is_video:
        chain.remove("images")
    if not family(config).distilled:
        chain.remove("distil")
    if config.stage not in ("all", *chain):
        raise ValueError(f"{config.model} has no stage {config.stage!r}, only {chain}")
    return chain if config.stage == "all" else [config.stage]


def work(rank: int, config: TinyConfig, rendezvous: str) -> None:
    """Run the stages as one of `config.world_size` processes."""
    torch.set_num_threads(1 if config.device == "cpu" else 8)
    if config.world_size > 1:
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=config.world_size)
    run = {
        "pictures": draw_pictures,
        "text": train_text,
        "vae": train_vae,
        "latents": cache_latents,
        "images": train_images,
        "flow": train_flow,
        "distil": train_distil,
        "decoder": train_decoder,
        "export": export,
    }
    for name in stages(config):
        run[name](config)
    if dist.is_initialized():
        dist.destroy_process_group()


def main(arguments: list[str]) -> None:
    """Entry point."""
    config = read_options(arguments)
    config.folder.mkdir(parents=True, exist_ok=True)
    meeting = config.folder.resolve() / f"meeting-{torch.seed()}"
    if config.world_size == 1:
        work(0, config, "")
    else:
        multiprocessing.spawn(work, (config, meeting.as_uri()), nprocs=config.world_size)
    meeting.unlink(missing_ok=True)


if __name__ == "__main__":
    run_program(main)
