"""Instantaneous against average velocity, and what the JVP corrects: Figure 2 of MeanCache."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from experiments.figures.files import write_plot
from meancache.trajectory import FullTrajectory
from meancache.velocity import average_of_steps, average_velocity, jvp, mean_velocity

ANCHORS = (0.927, 0.551)  # sigma of the paper's timesteps 927 and 551 of 1000
SPANS = (2, 3, 4, 5)
WINDOW = 5  # steps that the average velocity of the left panel spans
LONGEST = 20  # steps, longest cache interval shown
ORANGE, BLUE = "#d55e00", "#0072b2"
SPAN_STYLES = {2: ("#56b4e9", "o"), 3: ("#009e73", "s"), 4: ("#0072b2", "^"), 5: ("#cc79a7", "D")}


def draw_velocity(trajectory: FullTrajectory, out: Path) -> None:
    """Draw Figure 2 along one full trajectory.

    Left: how much the velocity changes from step to step, relative to its size, in the mean absolute value over all
    elements; instantaneous, and averaged over the next five steps. Middle and right: the error of the cached velocity,
    Eq. (13), for a cache that starts at the steps nearest timesteps 927 and 551 (and late enough to look back), over
    the length of the cache interval; plain hold, and JVP-corrected with span K.

    Args:
        trajectory: every step computed, any batch size.
        out: PNG to write.
    """
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, *others = figure.subplots(1, 1 + len(ANCHORS))
    _draw_changes(left, trajectory)
    for axes, sigma in zip(others, ANCHORS):
        _draw_errors(axes, trajectory, _anchor(trajectory, sigma))
    for axes in (left, *others):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    write_plot(out, figure)


def _draw_changes(axes: Axes, trajectory: FullTrajectory) -> None:
    sigmas, latents, num_steps = trajectory.sigmas, trajectory.latents, trajectory.schedule.num_steps
    window = min(WINDOW, num_steps)
    averages = [
        average_velocity(latents[step], latents[step + window], sigmas[step], sigmas[step + window])
        for step in range(num_steps - window + 1)
    ]
    timesteps = 1000 * np.array(sigmas)
    for name, colour, velocities in (
        ("instantaneous", ORANGE, list(trajectory.velocities)),
        (f"average over the next {window} steps", BLUE, averages),
    ):
        changes = [_size(after - before) / _size(before) for before, after in pairwise(velocities)]
        axes.plot(timesteps[: len(changes)], changes, color=colour, label=name, linewidth=1.8)
    axes.invert_xaxis()
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])  # room for the legend
    axes.set(title="Change of velocity along the trajectory", xlabel="timestep", ylabel="relative change per step")


def _draw_errors(axes: Axes, trajectory: FullTrajectory, anchor: int) -> None:
    lengths = range(1, min(LONGEST, trajectory.schedule.num_steps - anchor) + 1)
    axes.plot(lengths, hold_errors(trajectory, anchor, lengths), color=ORANGE, marker=".", label="hold (K = 1)")
    for span in SPANS:
        if span <= anchor:
            colour, marker = SPAN_STYLES[span]
            errors = jvp_errors(trajectory, anchor, lengths, span=span)
            axes.plot(lengths, errors, color=colour, marker=marker, markersize=4, label=f"JVP, K = {span}")
    axes.set_title(f"Timestep {1000 * trajectory.sigmas[anchor]:.0f} (step {anchor})")
    axes.set(xlabel="cache interval (steps)", ylabel="error of average velocity", ylim=(0, None))


def _anchor(trajectory: FullTrajectory, sigma: float) -> int:
    """The step nearest to ``sigma`` that has all spans behind it, where the grid is long enough for one."""
    num_steps = trajectory.schedule.num_steps
    return min(range(min(max(SPANS), num_steps - 1), num_steps), key=lambda step: abs(trajectory.sigmas[step] - sigma))


def hold_errors(trajectory: FullTrajectory, anchor: int, lengths: range) -> NDArray[np.float64]:
    """Error of the held velocity over cache intervals of these lengths: mean absolute value, Eq. (13) with K = 1."""
    held = trajectory.velocities[anchor]
    return np.array([_size(_true_average(trajectory, anchor, length) - held) for length in lengths])


def jvp_errors(trajectory: FullTrajectory, anchor: int, lengths: range, *, span: int) -> NDArray[np.float64]:
    """Error of the JVP-corrected velocity over cache intervals of these lengths, Eq. (13) with K = span > 1."""
    sigmas, velocities = trajectory.sigmas, trajectory.velocities
    past = anchor - span
    average = average_of_steps(list(velocities[past:anchor]), sigmas[past : anchor + 1])
    slope = jvp(average, velocities[past], sigmas[anchor], sigmas[past])
    estimates = [
        mean_velocity(velocities[anchor], slope, sigmas[anchor], sigmas[anchor + length]) for length in lengths
    ]
    return np.array(
        [_size(_true_average(trajectory, anchor, length) - guess) for length, guess in zip(lengths, estimates)]
    )


def _true_average(trajectory: FullTrajectory, anchor: int, length: int) -> Tensor:
    end = anchor + length
    return average_velocity(
        trajectory.latents[anchor], trajectory.latents[end], trajectory.sigmas[anchor], trajectory.sigmas[end]
    )


def _size(tensor: Tensor) -> float:
    return tensor.float().abs().mean().item()
