"""Jobs for the schedulers of clusters, which a person reads, changes and submits."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from alphaclip.arguments import COUNT, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.embedding.engines.worker import path_map
from alphaclip.indexing.embedding.plans import read_plan

_SLURM = """\
#!/bin/bash
# Embeds the shards of a plan by {workers} jobs; each takes shards until none is left.
#   sbatch THIS_FILE
# When all have ended, where FiftyOne's database is:
#   alphaclip index status {folder}
#   alphaclip index merge DATASET KEY
#SBATCH --job-name=alphaclip-embed
#SBATCH --array=1-{workers}
#SBATCH --requeue
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
{gpus}#SBATCH --output=alphaclip-embed-%A-%a.log
set -euo pipefail
srun {command}
"""

_KUBERNETES = """\
# Embeds the shards of a plan by {workers} pods; each takes shards until none is left.
#   kubectl apply -f THIS_FILE
# When all have ended, where FiftyOne's database is:
#   alphaclip index status {folder}
#   alphaclip index merge DATASET KEY
apiVersion: batch/v1
kind: Job
metadata:
  name: alphaclip-embed
spec:
  completionMode: Indexed
  completions: {workers}
  parallelism: {workers}
  backoffLimitPerIndex: 6
  maxFailedIndexes: {workers}
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: worker
          image: {image}
          command: {command}
          resources:
            requests: {{cpu: "4", memory: 16Gi}}
            limits: {{memory: 16Gi{gpus}}}
          volumeMounts:
            - {{name: plan, mountPath: {mount}}}
      volumes:
        - name: plan
          persistentVolumeClaim: {{claimName: {claim}}}
"""

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9./:@_-]*")
_CLAIM = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@checked(workers=COUNT, gpus_per_worker=(0, math.inf))
def job_script(
    folder: Path,
    engine: str,
    workers: int,
    gpus_per_worker: float = 0.0,
    paths: Mapping[str, str] | None = None,
    image: str | None = None,
    claim: str | None = None,
) -> str:
    """A job that embeds the shards of a plan.

    Args:
        folder: of the plan, under the same path on all machines
        engine: "slurm" or "kubernetes"
        workers: side by side
        gpus_per_worker (0): whole ones: schedulers share none
        paths (None): folders of pictures, and where the workers have them
        image (None): of a container that has this package; for kubernetes
        claim (None): a volume claim, mounted where the plan's folder is, that many pods can write
            to; for kubernetes

    Raises:
        AlphaClipError: if there is no plan, a name is missing or is none, or the folder's cannot
            stand in a script
    """
    read_plan(folder)
    path_map(paths or {})
    folder, gpus = folder.resolve(), math.ceil(gpus_per_worker)
    if not str(folder).isprintable():
        raise AlphaClipError(
            f"the plan's folder {str(folder)!r} has a character in its name that would end a line "
            "of the script: rename it"
        )
    maps = [word for pair in (paths or {}).items() for word in ("--map", "=".join(pair))]
    words = ["alphaclip", "index", "embed", str(folder), "--any", *maps]
    if engine == "slurm":
        each = f"#SBATCH --gpus-per-task={gpus}\n" if gpus else ""
        named, command = shlex.quote(str(folder)), shlex.join(words)
        return _SLURM.format(workers=workers, folder=named, gpus=each, command=command)
    for name, value, pattern in (("image", image, _IMAGE), ("claim", claim, _CLAIM)):
        if value is None or not pattern.fullmatch(value):
            raise AlphaClipError(f"{name} is {value!r}: name the {name} that the pods are to use")
    each = f", nvidia.com/gpu: {gpus}" if gpus else ""
    return _KUBERNETES.format(
        workers=workers,
        folder=shlex.quote(str(folder)),
        image=image,
        claim=claim,
        gpus=each,
        command=json.dumps(words, ensure_ascii=False),
        mount=json.dumps(str(folder), ensure_ascii=False),
    )
