"""Which family an embedded model is of."""

from embedded.families.family import Family
from embedded.families.flux import FLUX
from embedded.families.hunyuan import HUNYUAN
from embedded.families.qwen import QWEN
from embedded.training.options import TinyConfig

FAMILIES = {"tiny_flux": FLUX, "tiny_qwen": QWEN, "tiny_hunyuan": HUNYUAN}


def family(config: TinyConfig) -> Family:
    """The family of the model that the options name."""
    return FAMILIES[config.model]
