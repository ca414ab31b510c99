"""Labels regions of the bundled sample so that nine of ten labels are right, with a confidence.

    .venv/bin/python scripts/sandbox.py .venv/bin/python examples/label_with_a_promise.py

A person would review the random sample, in the panel "Label regions" of the App. Here the sample's
own ground truth answers, which also says in the end whether the promise was kept.
"""

import fiftyone as fo

from alphaclip import indexing
from alphaclip.indexing.dataset.samples import load_sample

NAME, INTO = "alphaclip-example", "auto"
PRECISION, CONFIDENCE = 0.9, 0.9

if fo.dataset_exists(NAME):
    fo.delete_dataset(NAME)
dataset = load_sample(name=NAME)
index = indexing.build(dataset, "objects", encoder="alphaclip-nano", overwrite=True)

# 3 % of the labels are wrong on purpose; those have the right one beside it.
truth = {
    detection.id: getattr(detection, "true_label", None) or detection.label
    for sample in dataset
    for detection in sample.objects.detections
}
classes = [
    indexing.LabelClass(name, prompts=(f"a drawing of a {name}",))
    for name in sorted(set(truth.values()))
]
promised = {"into": INTO, "precision": PRECISION, "confidence": CONFIDENCE}

report = index.label(classes, **promised)
print(f"first run: {report.outcome}, {report.counts['sample to review']} regions wait for review")

report = index.label(classes, **promised, reviews=truth)  # only what it says of the sample is used
print(f"second run: {report.outcome}, {report.counts['written']} of {len(index)} regions labelled")
print(report.promise.reason)

written = [label for sample in dataset.exists(INTO) for label in sample[INTO].detections]
right = [label.label == truth[label.source_id] for label in written]
print(f"right by the ground truth: {sum(right)} of {len(right)}, {sum(right) / len(right):.1%}")

print(f"taken back: {indexing.undo(dataset, report.run['run']).restored} labels")
index.delete()
dataset.delete()
