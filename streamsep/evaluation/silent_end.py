"""Imported by the server process of `apart` before all else: Ctrl-C ends it at once and silently."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)
