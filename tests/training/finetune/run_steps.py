"""A process of a run with several, started by ``torchrun``: a few steps of a case in a file.

Beside the case it writes what the steps came to, as ``result-RANK.pt``.
"""

import sys
from pathlib import Path

import torch

from alphaclip.network.factory import create_model
from alphaclip.training.finetune.batches import PairBatch
from alphaclip.training.finetune.config import FinetuneConfig
from alphaclip.training.finetune.optimization.optimizer import make_optimizer
from alphaclip.training.finetune.optimization.steps import TrainingStep
from alphaclip.training.finetune.optimization.trainable import prepare
from alphaclip.training.finetune.processes import Ranks, joined_processes


def run_case(path: Path, ranks: Ranks) -> dict[str, object]:
    """Runs the steps on this process's shares of the batches.

    Returns:
        the steps' figures, the first one's gradients, and the weights after the last
    """
    case = torch.load(path, weights_only=True)
    config = FinetuneConfig.from_dict(case["config"])
    trainable = prepare(create_model(case["architecture"], case["weights"]), config)
    step = TrainingStep(trainable, make_optimizer(trainable.trained(), config), config, ranks)
    share = ranks.share(config.batch_size)
    parts = [PairBatch(**fields).split(share)[ranks.rank] for fields in case["batches"]]
    trained = trainable.trained()
    results = [vars(step.run(parts[0], 0.5))]
    gradients = {name: parameter.grad.clone() for name, parameter in trained.items()}
    results += [vars(step.run(part, 0.5)) for part in parts[1:]]
    weights = {name: parameter.detach() for name, parameter in trained.items()}
    return {"results": results, "gradients": gradients, "trained": weights}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with joined_processes() as (mine, _):
        for number, case_path in enumerate(sorted(folder.glob("case-*.pt"))):
            torch.save(run_case(case_path, mine), folder / f"result-{number}-{mine.rank}.pt")
