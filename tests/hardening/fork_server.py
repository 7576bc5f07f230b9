"""Runs `drcore` as often as it is told to, each time in a forked process that may be killed.

The imports are paid once: a run starts in milliseconds, so that a test can kill dozens of them.
Each line on stdin is JSON, arguments and limits of resources; the answer is a line with the
process's id when it starts, and a line with its exit status when it has ended.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import sys
import traceback

import torch

# Loaded here for the children: with too little memory even an import fails, each time elsewhere.
import drcore.batch.command
import drcore.grading.grader
import drcore.grading.installed
import drcore.model.network  # noqa: F401
from drcore.cli import main


def serve() -> None:
    """Answer until stdin ends."""
    torch.set_num_threads(1)  # threads that the parent starts are missing in a forked child
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            log = os.open(os.environ["DRCORE_TEST_LOG"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            faulthandler.register(signal.SIGUSR1, all_threads=True)  # where does it hang?
            code = 70
            try:
                wanted = json.loads(line)
                for kind, value in wanted["limits"]:
                    resource.setrlimit(kind, (value, value))
                code = main(wanted["arguments"])
            except BaseException:  # noqa: BLE001 - for the test to see
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
