"""
What the forms of several operators have in common.
"""

import fiftyone.operators.types as types


def grid_button(config):
    """Makes a button above the samples grid that opens an operator's form.

    Args:
        config: the operator's :class:`fiftyone.operators.OperatorConfig`

    Returns:
        a :class:`fiftyone.operators.types.Placement`
    """
    return types.Placement(
        types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
        types.Button(label=config.label, prompt=True),
    )


def refuse(inputs, label, description):
    """Makes a form say why its operator cannot run here.

    Args:
        inputs: the form, a :class:`fiftyone.operators.types.Object`
        label: what is missing
        description: what to do about it
    """
    inputs.view(
        "refusal",
        types.Error(label=label, description=description),
        invalid=True,
        error_message="%s: %s" % (label, description),
    )


def reject(prop, message):
    """Marks a field of a form as wrong, which keeps the operator from running.

    Args:
        prop: the :class:`fiftyone.operators.types.Property`
        message: what is wrong and what to do
    """
    prop.invalid = True
    prop.error_message = message


def dropdown(inputs, name, choices, **kwargs):
    """Adds a field with one of some values; the first is preselected.

    Args:
        inputs: the form, a :class:`fiftyone.operators.types.Object`
        name: of the field
        choices: a dict of values and their labels
        **kwargs: of the :class:`fiftyone.operators.types.Property`

    Returns:
        the :class:`fiftyone.operators.types.Property`
    """
    view = types.DropdownView()
    for value, label in choices.items():
        view.add_choice(value, label=label)

    return inputs.enum(name, view.values(), view=view, default=next(iter(choices)), **kwargs)
