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

    from .act_on_regions import ActOnRegions
    from .delete_index import DeleteIndex
    from .embed_regions import EmbedRegions
    from .export_index import ExportIndex
    from .finetune_encoder import FinetuneEncoder
    from .label_panel import LabelRegionsPanel
    from .label_regions import LabelRegions
    from .odd_regions import FindOddRegions
    from .open_panel import OpenRegionSearch
    from .panel import RegionSearchPanel
    from .region_visualization import ComputeRegionVisualization
    from .search_regions import SearchRegions
    from .segment_regions import SegmentRegions
    from .similar_regions import FindSimilarRegions
    from .update_index import UpdateIndex

    for operator in (
        OpenRegionSearch,
        EmbedRegions,
        SegmentRegions,
        SearchRegions,
        FindSimilarRegions,
        UpdateIndex,
        DeleteIndex,
        ExportIndex,
        ComputeRegionVisualization,
        FindOddRegions,
        LabelRegions,
        FinetuneEncoder,
        ActOnRegions,
        RegionSearchPanel,
        LabelRegionsPanel,
    ):
        plugin.register(operator)
