"""What a run costs in floating-point operations.

Seams and session book *work*: amounts by unit, a Counter for each guidance branch. `call` prices the units by making a
denoiser call once without data, `encoders_and_vae` counts what runs once, `pipeline` sums both.

Units:
    embed_out: a denoiser call: its embedders and output layer.
    blocks:<kind>: a whole block; its kind is the name of its list, and what it lacks of the others (`Stack.unit`).
    modulations:<kind>: a block of which only the modulation ran.
    indicator: block 0's modulated input, computed once more to look at it.
    tokens:<stack>.<module>: a token of each sample that went through that module of a block.

Convention, that of torch's FlopCounterMode: a multiply-add is 2 FLOPs; matrix products, convolutions and attention
count, attention over all pairs of tokens whatever the mask; norms, activations and other elementwise work do not.
"""

from meancache.flops.call import CallCosts, call_costs, described
from meancache.flops.encoders_and_vae import pipeline_constant
from meancache.flops.measure import count_flops, decoder_flops, encoder_flops, on_meta
from meancache.flops.pipeline import PipelineCosts, RunFlops, branch_costs, pipeline_costs, sample_flops

__all__ = [
    "CallCosts",
    "PipelineCosts",
    "RunFlops",
    "branch_costs",
    "call_costs",
    "count_flops",
    "decoder_flops",
    "described",
    "encoder_flops",
    "on_meta",
    "pipeline_constant",
    "pipeline_costs",
    "sample_flops",
]
