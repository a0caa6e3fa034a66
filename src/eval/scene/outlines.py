"""The shapes as signed distance functions: negative inside, zero on the edge, radius about one."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def _regular(count: int, inner: float = 1.0, outer: float = 1.0, turn: float = 0.0) -> list[tuple[float, float]]:
    """Vertices on a circle, alternating between two radii; the first points up."""
    radii = [outer if k % 2 == 0 else inner for k in range(count)]
    angles = [2 * math.pi * k / count - math.pi / 2 + turn for k in range(count)]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _heart(count: int = 20) -> list[tuple[float, float]]:
    """The classic sine-and-cosines heart, scaled to the unit circle."""
    points = []
    for k in range(count):
        t = 2 * math.pi * k / count
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((16 * math.sin(t) ** 3 / 16.5, -(y + 2.0) / 16.5))
    return points


def _cross(arm: float = 0.34, length: float = 0.98) -> list[tuple[float, float]]:
    """A plus sign."""
    a, b = arm, length
    return [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]


POLYGONS = {
    "square": _regular(4, 1.18, 1.18, math.pi / 4),
    "triangle": [(x * 1.12, y * 1.12 + 0.2) for x, y in _regular(3)],
    "star": _regular(10, inner=0.47, outer=1.08),
    "heart": _heart(),
    "diamond": [(0.0, -1.1), (0.78, 0.0), (0.0, 1.1), (-0.78, 0.0)],
    "cross": _cross(),
}


def polygon_distance(points: Tensor, vertices: Sequence[tuple[float, float]]) -> Tensor:
    """Signed distance to a polygon's edge, negative inside (even-odd rule).

    Args:
        points: (..., 2).
        vertices: Corners in order.

    Returns:
        Distances (...), in the units of the points.
    """
    nearest = torch.full(points.shape[:-1], math.inf, dtype=points.dtype, device=points.device)
    inside = torch.zeros(points.shape[:-1], dtype=torch.bool, device=points.device)
    x, y = points.unbind(-1)
    for (ax, ay), (bx, by) in zip(vertices, [*vertices[1:], vertices[0]], strict=True):
        ex, ey = bx - ax, by - ay
        along = (((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey)).clamp(0, 1)
        nearest = torch.minimum(nearest, (x - ax - along * ex) ** 2 + (y - ay - along * ey) ** 2)
        if ey != 0:
            inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * ex / ey)
    return nearest.sqrt() * torch.where(inside, -1.0, 1.0)


def shape_distance(points: Tensor, shape: str) -> Tensor:
    """Signed distance of points (..., 2) to a shape of radius about one; negative inside."""
    if shape == "circle":
        return points.norm(dim=-1) - 0.96
    if shape == "ring":
        return (points.norm(dim=-1) - 0.72).abs() - 0.27
    return polygon_distance(points, POLYGONS[shape])
