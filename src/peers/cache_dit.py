"""cache-dit, the library that DBCache comes from: `pip install meancache[cachedit]`.

Upstream: vipshop/cache-dit. Used as it is. It patches the pipeline's class while it is on. It tells guidance branches
apart by the parity of denoiser calls: wrong for Qwen-Image without guidance (`baselines.dbcache` knows better).
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from meancache.models import adapter_for
from meancache.protocols import ExternalMethod
from peers.traces import without_traces


@dataclass(frozen=True)
class CacheDit(ExternalMethod):
    """``cache_dit.enable_cache`` with DBCache, and its TaylorSeer calibrator if an order is given.

    Args:
        settings: fields of cache_dit.DBCacheConfig.
        taylor_order: order of the calibrator; 0 for none.

    Raises:
        ValueError: cache-dit is not installed, or DBCacheConfig has no such setting.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    taylor_order: int = 0

    def __post_init__(self) -> None:
        self._configurations()
        if not isinstance(self.taylor_order, int) or self.taylor_order < 0:
            raise ValueError(f"taylor_order must be a whole number >= 0, got {self.taylor_order!r}")

    def _configurations(self) -> dict[str, Any]:
        try:
            import cache_dit
        except ImportError as error:
            raise ValueError("method=cache_dit needs the package cache-dit: pip install cache-dit") from error
        unknown = self.settings.keys() - cache_dit.DBCacheConfig.__dataclass_fields__.keys()
        if unknown:
            raise ValueError(f"cache_dit.DBCacheConfig has no setting {sorted(unknown)}")
        calibrator = cache_dit.TaylorSeerCalibratorConfig(taylorseer_order=self.taylor_order)
        return {
            "cache_config": cache_dit.DBCacheConfig(**self.settings),
            "calibrator_config": calibrator if self.taylor_order else None,
        }

    @contextmanager
    def enabled(self, pipe: Any) -> Iterator[None]:
        configurations = self._configurations()
        import cache_dit

        with ExitStack() as exits:
            exits.enter_context(_quiet())
            for name in adapter_for(pipe).denoisers:
                exits.enter_context(without_traces(getattr(pipe, name)))
            exits.callback(cache_dit.disable_cache, pipe)
            cache_dit.enable_cache(pipe, **configurations)
            if not hasattr(pipe, "_context_manager"):
                raise ValueError(f"cache-dit found nothing to accelerate in {type(pipe).__name__}")
            yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that it logs whenever it is switched on or off."""
    loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if _is_theirs(name)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _is_theirs(name: str) -> bool:
    return name.split(".")[0].lower() == "cache_dit"
