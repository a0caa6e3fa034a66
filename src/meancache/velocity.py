"""Average velocity from instantaneous velocity: Eqs. (5)-(13) of MeanCache as pure functions.

Notation: a run goes through times r > t > s (noise levels sigma, falling). ``z`` are latents (B, ...), ``v`` the
guided instantaneous velocity dz/dsigma of the same shape. Differences and ratios are formed in float32 (float64
inputs stay float64) and the correction is cast to the velocity's dtype before it is added: with bfloat16 latents the
difference of two displacements is mostly rounding error otherwise.
"""

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


def jvp(z_t: Tensor, z_r: Tensor, v_r: Tensor, t: float, r: float) -> Tensor:
    """Finite-difference estimate of du/dt from the span [t, r] that was just passed, Eq. (9).

    Args:
        z_t: latents now. (B, ...)
        z_r: latents at the earlier reference point r > t, same shape.
        v_r: velocity at r, same shape.
        t: noise level now.
        r: noise level of the reference point.
    """
    return (average_velocity(z_r, z_t, r, t) - _precise(v_r)) / (t - r)


def mean_velocity(v_t: Tensor, jvp_estimate: Tensor, t: float, s: float) -> Tensor:
    """Estimated average velocity over [s, t]: v_t + (s - t) JVP, Eqs. (6), (10) and (11), K > 1.

    For K = 1 there is no correction and the estimate is ``v_t`` itself: callers use it as it is.
    """
    return v_t + (s - t) * jvp_estimate.to(v_t.dtype)
