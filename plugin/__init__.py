"""
Finds regions by text: the operators in the FiftyOne App.

FiftyOne runs this module again at every operator call, so it only registers classes.
"""

from .installation import FinishInstallation, find_problem


def register(plugin):
    """Registers the operators, or the one that says how to complete the installation.

    Args:
        plugin: the :class:`fiftyone.plugins.context.PluginContext` to register on
    """
    if find_problem(plugin.plugin_definition.version):
        plugin.register(FinishInstallation)
        return

    from .embed_regions import EmbedRegions
    from .search_regions import SearchRegions

    plugin.register(EmbedRegions)
    plugin.register(SearchRegions)
