"""Runs a configuration file in a process of its own, which may kill itself after a step."""

import os
import signal
import sys

from alphaclip.training.finetune.config import FinetuneConfig
from alphaclip.training.finetune.run import finetune


def main(config: str, last: int = 0, number: int = signal.SIGKILL) -> None:
    """Trains; after ``last`` steps, unless that is 0, it sends itself a signal."""

    def progress(done: int, total: int) -> None:
        if done == last:
            os.kill(os.getpid(), number)

    finetune(FinetuneConfig.read(config), progress=progress)


def main_of_rank(rank: int, world: int, port: int, config: str) -> None:
    """Trains as one of several processes, told what ``torchrun`` tells them."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ.update(address, RANK=str(rank), WORLD_SIZE=str(world))
    main(config)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
