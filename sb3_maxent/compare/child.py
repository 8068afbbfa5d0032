"""
The process of one training, ``python -m sb3_maxent.compare.child train ...``: ``python -m sb3_maxent.zoo train ...`` that
ends with the process that started it, however that one ends.
"""

import os
import sys
import threading

from sb3_maxent import zoo


def _end_with_parent() -> None:
    # Nothing is ever written into this pipe. Reading ends when its other end is closed, by the parent or, where that was
    # killed, by the system.
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What rl_zoo3 writes beside the agent as the command that trained it
    sys.orig_argv = [sys.executable, "-m", "sb3_maxent.zoo", *sys.argv[1:]]
    zoo.main()
