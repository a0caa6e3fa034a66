"""What a run holds from one step to the next, counted in storages: a view keeps all of the tensor it was cut from."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, UntypedStorage

from meancache.run import Run

_CONTAINERS = (list, tuple, set, frozenset, deque)


def storages(*roots: Any) -> dict[int, UntypedStorage]:
    """The distinct storages of all tensors that containers and plain objects lead to, by address of the storage.

    Closures are not looked into.
    """
    found: dict[int, UntypedStorage] = {}
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            storage = item.untyped_storage()
            found[storage._cdata] = storage
        else:
            waiting.extend(_parts(item))
    return found


def _parts(item: Any) -> Iterable[Any]:
    if isinstance(item, Mapping):
        return item.values()
    if isinstance(item, _CONTAINERS):
        return item
    return () if isinstance(item, type) else getattr(item, "__dict__", {}).values()


def kept(run: Run) -> dict[int, UntypedStorage]:
    """What a run keeps for its method: states, past steps, and what stands in for the denoiser's output."""
    past = [(lane.trajectory, lane.euler_latents) for lane in run.lanes.values()]
    return storages(run.states, run.branch_states, past, run.placeholders)


def num_bytes(found: Mapping[int, UntypedStorage]) -> int:
    """Bytes of these storages."""
    return sum(storage.nbytes() for storage in found.values())
