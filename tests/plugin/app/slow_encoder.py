"""Runs a file as ``python FILE`` does, with an encoder that rests before each batch.

So a job lasts long enough to be watched and stopped, however fast the machine is, and however
little of it the App gets.
"""

import runpy
import sys
import time
from typing import Any

from alphaclip.encoder.encoder import Encoder

REST_SECONDS = 1.0


def main() -> None:
    run = Encoder._run

    def rest_and_run(*args: Any) -> None:
        time.sleep(REST_SECONDS)
        run(*args)

    Encoder._run = rest_and_run
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
