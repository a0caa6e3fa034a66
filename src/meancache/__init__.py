"""Training-free acceleration of flow-matching pipelines: MeanCache and the framework its peers share.

import diffusers, meancache
pipe = diffusers.FluxPipeline.from_pretrained("assets/tiny_flux")
plan = meancache.Plan.load("plan.json")
with meancache.attach(pipe, meancache.adapter_for(pipe), meancache.MeanCache(plan)):
    image = pipe("a red circle above a blue star", num_inference_steps=50).images[0]
"""

from meancache.method import Full, MeanCache
from meancache.models import adapter_for
from meancache.plan import Plan
from meancache.schedule import Schedule, Step
from meancache.session import attach

__all__ = ["Full", "MeanCache", "Plan", "Schedule", "Step", "adapter_for", "attach"]
