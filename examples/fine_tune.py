"""Fine-tunes an encoder on a dataset's own labels, and says what was gained on other pictures.

    .venv/bin/python scripts/sandbox.py .venv/bin/python examples/fine_tune.py

alphaclip-nano was trained on drawings like these for long, so there is little to gain, and a few
steps may as well lose a little. The interval in the report is there to say so.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import alphaclip
from alphaclip import indexing
from alphaclip.indexing.dataset.samples import load_sample
from alphaclip.training.finetune.fiftyone_training import finetune_on_dataset


def main() -> None:
    """Runs the example; in a function, as processes that read pairs would import this file."""
    samples = load_sample().limit(120)  # to be quick; otherwise the dataset itself
    with TemporaryDirectory(prefix="alphaclip-example-") as folder:
        tuned = finetune_on_dataset(
            samples,
            "objects",
            Path(folder),
            "alphaclip-nano",
            held_out=0.5,  # of the pictures; nothing of them decides anything in training
            # The default for so few pairs is 80 steps, and a process of its own to read them.
            changed={"steps": 10, "workers": 0},
        )
        print(f"trained on {tuned.trained_on} pairs, measured on {tuned.held_out}")
        for direction, gain in tuned.gains.items():
            print(f"{direction}: mAP {gain.before:.1f} before, {gain.after:.1f} after, {gain.said}")

        # The folder is a model like any other, and its vectors are an index beside the others.
        encoder = alphaclip.load(str(tuned.model))
        index = indexing.build(samples, "objects", encoder, key="tuned", overwrite=True)
        hits = index.search("a drawing of a red apple", k=3)
        print(f"with the tuned encoder: {hits.view().values('objects.label')}")
        index.delete()


if __name__ == "__main__":
    main()
