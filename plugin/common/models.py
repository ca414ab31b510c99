"""Models that a form offers: what is here, and what can be downloaded, with size and licence."""

from alphaclip.catalog.candidates import find_detector
from alphaclip.catalog.choices import DOWNLOADS, download_encoder, encoder_choices
from alphaclip.catalog.methods import split_name
from alphaclip.indexing.masks.segmenters import segmenter_choices
from alphaclip.sam.checkpoints import RELEASED_SAMS, install_sam

from .forms import alert, dropdown, shorten

COMMERCE = {
    True: "commercial use is allowed",
    False: "no commercial use",
    None: "whether commercial use is allowed is not known here",
}


def encoders_of(dataset):
    """Lists the encoders that a dataset's user may choose, the one that ``auto`` takes first.

    Returns:
        a list of dicts of JSON values: ``name``, which loads it; ``label`` and ``note``, for
        people; and what ``alphaclip.catalog.choices.Choice`` says of it
    """
    choices = [choice for choice in encoder_choices() if choice.usable]
    # What was fine-tuned on other datasets comes after what was on this one
    choices.sort(key=lambda one: bool(one.tuned_on) and one.tuned_on != dataset.name)
    choices.sort(key=lambda one: (not one.why_auto, not one.installed))
    return [_described(choice) for choice in choices]


def segmenters_of():
    """Lists the segmenters that may be chosen; see :func:`encoders_of`."""
    return [_described(choice) for choice in segmenter_choices()]


def downloads_of(dataset):
    """Lists the models that can be downloaded; see :func:`encoders_of`."""
    from alphaclip.detectors.phrase_detectors import detector_choices

    detectors = [_described(choice) for choice in detector_choices() if not choice.installed]
    return [one for one in [*encoders_of(dataset), *segmenters_of(), *detectors] if one["bytes"]]


def trainable(encoders):
    """Leaves out the encoders that are made without training, of which none can be trained."""
    return [one for one in encoders if one["installed"] and not split_name(one["name"])[1]]


def add_model(ctx, inputs, name, models, **kwargs):
    """Adds a field with models, and says below it what is to be known of the one that is chosen.

    Args:
        name: of the field
        models: as :func:`encoders_of` lists them, the first preselected; "auto" stands for it
        **kwargs: of the :class:`fiftyone.operators.types.Property`

    Returns:
        the model that is chosen, or None if it is none
    """
    if ctx.params.get(name) == "auto" and models:
        ctx.params[name] = models[0]["name"]

    chosen, by_name = ctx.params.get(name), {model["name"]: model for model in models}
    labels = {model["name"]: model["label"] for model in models}
    prop = dropdown(inputs, name, labels, chosen, **kwargs)
    if prop.invalid or not models:
        return None

    model = by_name[chosen] if chosen else models[0]
    severity = "warning" if model["warning"] else "info"
    about = "It is downloaded first" if model["bytes"] else "About this model"
    inputs.view("%s_note" % name, alert(severity, about, model["note"]))
    return model


def fetch(name, progress):
    """Downloads a model, if it can be and is not here; what was cut off goes on.

    Args:
        name: of the model
        progress: a function of what is counted, how many are done and how many there are
    """
    if name in DOWNLOADS:
        download_encoder(name, progress)
    elif any(name == released.name for released in RELEASED_SAMS):
        install_sam(name, progress=progress)
    elif find_detector(name):
        from alphaclip.weights.hub import hub_folder

        hub_folder(name, progress=progress)


def size_of(model):
    """Says how large a download is."""
    size = model["bytes"]
    return "%.1f GB" % (size / 1e9) if size >= 1e9 else "%d MB" % round(size / 1e6)


def _described(choice):
    model = choice.to_dict()
    named = "%s, %s" % (choice.name, choice.summary)
    # The names of open_clip's, and of folders, are longer than what they say
    label = named if len(choice.name) < 40 else choice.summary
    label += " (download: %s)" % size_of(model) if choice.bytes else ""
    return {**model, "label": shorten(label), "note": _note(choice, model)}


def _note(choice, model):
    said = ["Licence: %s; %s" % (choice.licence, COMMERCE[choice.commercial])]
    if choice.bytes:
        said.insert(0, "%s, once; a stop loses nothing of it" % size_of(model))
    if choice.why_auto:
        said.append("“auto” takes this one: %s" % choice.why_auto)

    return ". ".join([*said, *filter(None, [choice.warning])])
