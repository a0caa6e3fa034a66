"""What a run costs in floating-point operations.

Seams and session book *work*: amounts by unit, a Counter for each guidance branch. `closed_form` prices a unit, `once`
counts what runs once (text encoders, VAE), `pipeline` sums both.

Units:
    embed_out: a denoiser call: its embedders and output layer.
    blocks:<stack>: a whole block of that block list.
    modulations:<stack>: a block of which only the modulation ran.
    indicator: block 0's modulated input, computed once more to look at it.
    tokens:<stack>.<module>: a token row that went through that module of a block.

Convention, that of torch's FlopCounterMode: a multiply-add is 2 FLOPs; matrix products, convolutions and attention
count, attention over all pairs of tokens whatever the mask; norms, activations and other elementwise work do not.
"""

from meancache.flops.closed_form import denoiser_flops, full_call, unit_costs
from meancache.flops.measure import count_flops, decoder_flops, encoder_flops, on_meta
from meancache.flops.once import pipeline_constant
from meancache.flops.pipeline import PipelineCosts, RunFlops, pipeline_costs

__all__ = [
    "PipelineCosts",
    "RunFlops",
    "count_flops",
    "decoder_flops",
    "denoiser_flops",
    "encoder_flops",
    "full_call",
    "on_meta",
    "pipeline_constant",
    "pipeline_costs",
    "unit_costs",
]
