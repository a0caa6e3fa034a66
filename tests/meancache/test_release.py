"""The `release` rule on a Qwen-Image pipeline against a transcription of the authors' rule that shares no code with it.

The transcription runs its own loop in float64: guidance with norm rescale, decisions, JVP from the log of all past
steps, Euler. Only the denoiser's module is shared.
"""

import copy

import pytest
import torch

from meancache.method import Full, MeanCache
from meancache.models import adapter_for
from meancache.plan import Plan
from meancache.session import attach

NODES, EDGE_ORDERS = (0, 1, 3, 7, 14, 21, 28, 35, 42, 49), (0, 2, 1, 1, 1, 1, 1, 1, 4)
VARIANTS = {
    "released B=10": (NODES, EDGE_ORDERS),
    "many spans": ((0, 1, 2, 5, 9, 15, 22, 30, 39, 49), (0, 2, 3, 4, 5, 2, 3, 4, 5)),
}


def transcription(pipeline, sigmas, nodes, orders) -> torch.Tensor:
    transformer = copy.deepcopy(pipeline.pipe.transformer).double()
    inputs = pipeline.inputs(0)
    x = torch.randn(1, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    x = x.view(1, 4, 4, 2, 4, 2).permute(0, 2, 4, 1, 3, 5).reshape(1, 16, 16).double()

    def guided(z, sigma):
        t = torch.tensor([sigma], dtype=torch.float64)
        outputs = []
        for name in ("prompt_embeds", "negative_prompt_embeds"):
            embeds = inputs[name].double()
            arguments = {"hidden_states": z, "timestep": t, "encoder_hidden_states": embeds}
            outputs.append(transformer(**arguments, img_shapes=[[(1, 4, 4)]], return_dict=False)[0])
        cond, uncond = outputs
        combined = uncond + 4.0 * (cond - uncond)
        return combined * cond.norm(dim=-1, keepdim=True) / combined.norm(dim=-1, keepdim=True)

    span_at = {j: k for a, e, k in zip(nodes, nodes[1:], orders) for j in range(a, e)}
    log = []  # (z before, z after, sigma, v) of every step, computed or not
    for i in range(50):
        if i in nodes:
            v = guided(x, sigmas[i])
        else:
            v = log[i - 1][3]
            span = span_at[i - 1]
            if span > 1:
                p = i - min(span, i)
                mean = (log[i - 1][1] - log[p][0]) / (sigmas[i] - sigmas[p])
                v = v + (mean - log[p][3]) / (sigmas[i] - sigmas[p]) * (sigmas[i + 1] - sigmas[i])
        after = x + (sigmas[i + 1] - sigmas[i]) * v
        log.append((x, after, sigmas[i], v))
        x = after
    return x


@pytest.mark.parametrize("variant", VARIANTS)
def test_release_rule_equals_its_transcription(random_qwen, variant):
    nodes, orders = VARIANTS[variant]
    with attach(random_qwen.pipe, adapter_for(random_qwen.pipe), Full()) as session:
        random_qwen.run(num_steps=50)
    plan = Plan("qwen", session.run.schedule, nodes, (*orders, 0), "release")
    with attach(random_qwen.pipe, adapter_for(random_qwen.pipe), MeanCache(plan)):
        ours = random_qwen.run(num_steps=50)
    expected = transcription(random_qwen, session.run.schedule.sigmas, nodes, orders)
    assert ((ours - expected).norm() / expected.norm()).item() < 1e-6
