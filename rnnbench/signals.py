"""What asks a command to stop: Ctrl-C, a polite kill, the end of the terminal or connection."""

import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_heard: list[int] = []  # by `interrupt`, in this command


def listen(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Call the handler when asked to stop; returns what was called before, for `restore`.

    The end of the terminal stays without meaning where nohup made it so. Signals reach the main
    thread alone; in others this does nothing.

    Raises KeyboardInterrupt if `interrupt` was called before and the command still goes on:
    libraries swallow every exception in places while they are loaded.
    """
    if _heard:
        raise KeyboardInterrupt
    if threading.current_thread() is not threading.main_thread():
        return {}
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    heard = [s for s in STOPPING if not (ignored and s == signal.SIGHUP)]
    return {number: signal.signal(number, handler) for number in heard}


def restore(before: Mapping[int, Any]) -> None:
    """Call again what was called before `listen`."""
    _heard.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Any of them as Ctrl-C."""
    _heard.append(number)
    raise KeyboardInterrupt
