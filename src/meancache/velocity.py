"""Average velocity from instantaneous velocity: Eqs. (5)-(13) of MeanCache as pure functions.

Notation: a run goes through times r > t > s (noise levels sigma, falling). ``z`` are latents (B, ...), ``v`` the
guided instantaneous velocity dz/dsigma of the same shape. Differences and ratios are formed in float32 (float64
inputs stay float64) and the correction is cast to the velocity's dtype before it is added.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def average_velocity(z_t: Tensor, z_s: Tensor, t: float, s: float) -> Tensor:
    """u(z_t, t, s), displacement over time, Eq. (8).

    Args:
        z_t: latents at t. (B, ...)
        z_s: latents at s, same shape.
        t: noise level of ``z_t``.
        s: noise level of ``z_s``, s != t.
    """
    return (_precise(z_s) - _precise(z_t)) / (s - t)


def average_of_steps(velocities: Sequence[Tensor], sigmas: Sequence[float]) -> Tensor:
    """The same average velocity from the velocities that Euler steps moved with.

    In exact arithmetic it equals :func:`average_velocity` over the same interval. With bfloat16 latents it is the one
    to use: an update of 0.01 to latents near 1 is rounded by up to 0.004, so displacements of such latents hold more
    rounding than signal.

    Args:
        velocities: of the steps from sigmas[0] to sigmas[-1], in order. Each (B, ...)
        sigmas: noise levels, one more than velocities.
    """
    moved = sum((after - before) * _precise(v) for v, (before, after) in zip(velocities, pairwise(sigmas)))
    assert isinstance(moved, Tensor)
    return moved / (sigmas[-1] - sigmas[0])


def jvp(u_r: Tensor, v_r: Tensor, t: float, r: float) -> Tensor:
    """Estimate of du/dt from the interval [t, r] that was just passed, Eqs. (7) and (9).

    Args:
        u_r: average velocity from r to t, u(z_r, r, t). (B, ...)
        v_r: instantaneous velocity at r, same shape.
        t: noise level now.
        r: noise level of the reference point, r > t.
    """
    return (_precise(u_r) - _precise(v_r)) / (t - r)


def mean_velocity(v_t: Tensor, jvp_estimate: Tensor, t: float, s: float) -> Tensor:
    """Estimated average velocity over [s, t]: v_t + (s - t) JVP, Eqs. (6), (10) and (11), K > 1.

    For K = 1 there is no correction and the estimate is ``v_t`` itself: callers use it as it is.
    """
    return v_t + (s - t) * jvp_estimate.to(v_t.dtype)
