"""One user of the connection at a time, with waits that end when a context is done."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter_core import Context


class Turn:
    """A lock whose waiters give up when their context is done, cancellation included."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: list[Context] = []

    def take_if_free(self) -> bool:
        """Take the turn if nobody has it; whether it was got."""
        return self._lock.acquire(blocking=False)

    def take(self, context: Context) -> bool:
        """Wait for the turn until the context is done; whether it was got. A free turn is got in any case."""
        while not self.take_if_free():
            waiter = context.child()
            self._waiters.append(waiter)
            try:
                # The holder may have left before the waiter was listed; whoever leaves later wakes it.
                if self.take_if_free():
                    return True
                waiter.wait(math.inf)
            finally:
                self._waiters.remove(waiter)
            if context.done:
                return self.take_if_free()
        return True

    def give_back(self) -> None:
        """End the turn and wake who waits for it."""
        self._lock.release()
        for waiter in self._waiters.copy():
            waiter.cancel()
