"""Fields of the forms that make an index of a field's regions."""

from alphaclip.indexing.dataset.labels import REGION_TYPES, LabelPath, region_fields
from alphaclip.indexing.dataset.locations import KeyNameError, check_key, index_keys

from .forms import add_images, dropdown, refuse, refuse_other_media, reject
from .models import add_model, encoders_of

KEY_CHARACTERS = 80
"""Of a key that is too long anyway, so many are shown."""

NO_TEXTS = ("id", "mask_path")
LOOKED_AT = 20
"""Samples whose labels are looked at for attributes."""


def refuse_without_regions(ctx, inputs, what, in_videos=False):
    """Says why regions cannot be worked on here, if they cannot.

    Args:
        what: is made of images, as "Regions are embedded"
        in_videos (False): whether those in frames of videos can

    Returns:
        True/False, whether they cannot
    """
    has_videos = ctx.dataset is not None and ctx.dataset.media_type == "video"
    if not (in_videos and has_videos) and refuse_other_media(ctx, inputs, what):
        return True

    if not region_fields(ctx.dataset):
        refuse(
            inputs,
            "This dataset has no field with regions",
            "Add labels of type %s first." % ", ".join(REGION_TYPES),
        )
    else:
        return False

    return True


def add_region_field(ctx, inputs, action, description):
    """Adds the images that are meant, and the field with their regions.

    Args:
        action: what is done to the images, as "Train on"
        description: of the field

    Returns:
        the field that is chosen, or None if it is none
    """
    add_images(ctx, inputs, action)
    fields = region_fields(ctx.dataset)
    choices = {name: "%s (%s)" % (name, kind) for name, kind in fields.items()}
    chosen = ctx.params.get("field")
    prop = dropdown(
        inputs, "field", choices, chosen, label="Field", description=description, required=True
    )
    return None if prop.invalid else chosen or next(iter(fields))


def text_attributes(dataset, field):
    """Lists the attributes with a text that the first labels of a field have.

    Args:
        field: the name of a field with regions

    Returns:
        a list of names, "label" first, dynamic attributes among them
    """
    path = LabelPath.of(dataset, field)
    names = ["label"]
    there = {path.root: {"$ne": None}}
    for document in path.collection(dataset).find(there, {path.root: 1}).limit(LOOKED_AT):
        for label in path.labels(document):
            names += [name for name in label if isinstance(label[name], str) and name[0] != "_"]

    return [name for name in dict.fromkeys(names) if name not in NO_TEXTS]


def add_encoder(ctx, inputs, label, description, only=list):
    """Adds a field with the encoders that may be chosen.

    Args:
        label: of the field
        description: of the field
        only (list): leaves out some of a list of them
    """
    models = only(encoders_of(ctx.dataset))
    add_model(ctx, inputs, "encoder", models, label=label, description=description)


def finished_keys(dataset):
    """Lists the indexes whose build came to its end: the others are gone on with, by the same."""
    from alphaclip.indexing import unfinished

    begun = {build.key for build in unfinished(dataset) if not dataset.has_brain_run(build.key)}
    return [key for key in index_keys(dataset) if key not in begun]


def add_key(ctx, inputs, default, **kwargs):
    """Adds a field for the name of an index.

    Args:
        default: the name unless another is typed
        **kwargs: of the :class:`fiftyone.operators.types.Property`

    Returns:
        the name that was typed and the :class:`fiftyone.operators.types.Property`, which is
        refused if it is none
    """
    prop = inputs.str("key", default=default, **kwargs)
    key = str(ctx.params.get("key", default) or "")
    try:
        check_key(ctx.dataset, key[:KEY_CHARACTERS])
    except KeyNameError as error:
        reject(prop, str(error))

    return key, prop
