"""How a run that goes on is made durable, with what its components did so far."""

from __future__ import annotations

from ..errors import Unavailable
from ..store.history import History
from .live import Live


async def commit(live: Live, history: History) -> None:
    """Write it down, and all that comes of it. Raises `Unavailable`."""
    if live.recorder is not None and not live.ending:
        live.run = live.run.model_copy(update={"continues": live.recorder.continues})
        history.record(live.run, live.recording)
        live.recorder.keep(live.run)
    await history.commit(live.run, live.recording)


async def let_last(live: Live, history: History) -> bool:
    """Let it go on without its caller; false if the store does not work."""
    if live.lasting:
        return True
    live.shared = True  # from here on its end is committed, and that comes after this
    try:
        await commit(live, history)
    except Unavailable:
        return False
    live.lasting = True
    return True
