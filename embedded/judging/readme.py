"""Fill a model card's template (`<model>.md`) with measured numbers."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from embedded.families.hunyuan import TEXT_LENGTH
from embedded.families.registry import family
from embedded.families.tokenizers import T5_LENGTH
from embedded.training.options import TinyConfig
from embedded.world.captions import plural
from embedded.world.prompt_suites import SCENES, VIDEOS
from embedded.world.scenes import HELD_OUT_PAIRS
from eval.scene.words import RARE
from eval.scene.world import BACKGROUNDS, COLOURS, MOTIONS, SHAPES

TEMPLATES = Path(__file__).parent


def write_readme(config: TinyConfig, metrics: dict) -> None:
    """Write `README.md` beside the weights.

    Args:
        config: Options of the training.
        metrics: What `embedded.card` measured.
    """
    values = (
        asdict(config)
        | {"guidance": family(config).guidance}
        | _world()
        | _training(config, metrics)
        | _measured(metrics, ("all", "motion", *VIDEOS) if config.is_video else ("all", *SCENES))
    )
    values["megabytes"] = f"{_bytes(Path(config.export_to)) / 1e6:.1f}"
    text = (TEMPLATES / f"{config.model}.md").read_text().format(**values)
    (Path(config.export_to) / "README.md").write_text(text)


def _bytes(folder: Path) -> int:
    """Size of all weights."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def _world() -> dict[str, object]:
    rare = sorted(word for words in RARE.values() for word in words)
    return {
        "shapes": len(SHAPES),
        "colours": len(COLOURS),
        "backgrounds": len(BACKGROUNDS),
        "held_out": ", ".join(f"{colour} {plural(shape)}" for shape, colour in sorted(HELD_OUT_PAIRS)),
        "rare": ", ".join(rare),
        "t5_length": T5_LENGTH,
        "text_length": TEXT_LENGTH,
        "motions": len(MOTIONS),
    }


def _training(config: TinyConfig, metrics: dict) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, progress in metrics["training"].items():
        values |= {f"{name}_steps": f"{progress['steps']:,}", f"{name}_minutes": progress["minutes"]}
    steps = sum(metrics["training"].get(name, {"steps": 0})["steps"] for name in ("images", "flow", "distil"))
    values |= {f"p_{name}": f"{count:,}" for name, count in metrics["parameters"].items()}
    values |= {"samples": f"{steps * config.flow_batch:,}", "hardware": metrics["hardware"]}
    return values | {"dropout": f"{config.caption_dropout:.0%}", "max_guidance": config.distil_max_guidance}


def _measured(metrics: dict, categories: Sequence[str]) -> dict[str, object]:
    suite, counts, drawn = metrics["suite"], metrics["counts"], metrics["checker_on_drawn"]
    by_guidance = ", ".join(f"{scale} {share:.1%}" for scale, share in metrics["suite_by_guidance"].items())
    return {
        "vae_psnr": metrics["vae_psnr"],
        "vae_count": counts["reconstructed"],
        "psnr_50_to_200": metrics["psnr_50_to_200"],
        "floor_count": counts["floor"],
        **{f"{name}_reading": min(shares.values()) for name, shares in metrics["text_reading"].items()},
        "checker_count": counts["checked"],
        **{f"checker_{name}": drawn[name] for name in ("shape", "colour", "fill", "scene")},
        "suite_count": counts["suite"],
        "suite_names": " | ".join(categories),
        "suite_rule": "|".join("---:" for _ in categories),
        "suite_values": " | ".join(f"{suite[name]:.1%}" for name in categories),
        "suite_fills": suite["all, fills"],
        "by_guidance": by_guidance,
        "motion_on_drawn": metrics.get("motion_on_drawn"),
    }
