"""Wan 2.2's small model: every token has a timestep of its own."""

from functools import partial

from tests.families import wan

FAMILY = wan.FAMILY._replace(make=partial(wan.make, expand_timesteps=True), is_first=False)
