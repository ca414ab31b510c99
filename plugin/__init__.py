"""Finds regions by text: the operators in the FiftyOne App.

FiftyOne runs this module again at every operator call, so it only registers classes.

In the whole plugin ``ctx`` is FiftyOne's ``ExecutionContext``; ``dataset`` a dataset; ``root``
and ``inputs`` the ``types.Object`` that a panel or a form is laid out in; ``panel`` the one whose
events the elements call.
"""

from .operators.installation import FinishInstallation, find_problem


def register(plugin):
    """Registers the operators, or the one that says how to complete the installation.

    Args:
        plugin: the :class:`fiftyone.plugins.context.PluginContext` to register on
    """
    if find_problem(plugin.plugin_definition.version):
        plugin.register(FinishInstallation)
        return

    from .common.zoo import show_models
    from .label_panel import LabelRegionsPanel
    from .operators.delete_index import DeleteIndex
    from .operators.download_model import DownloadModel
    from .operators.embed_regions import EmbedRegions
    from .operators.export_index import ExportIndex
    from .operators.finetune_encoder import FinetuneEncoder
    from .operators.label_regions import LabelRegions
    from .operators.language_regions import AskRegions, DescribeRegions
    from .operators.odd_regions import FindOddRegions
    from .operators.open_panel import OpenRegionSearch
    from .operators.region_visualization import ComputeRegionVisualization
    from .operators.search_regions import SearchRegions
    from .operators.segment_regions import SegmentRegions
    from .operators.similar_regions import FindSimilarRegions, SimilarRegionsButton
    from .operators.update_index import UpdateIndex
    from .panel import RegionSearchPanel
    from .panel.act_on_regions import ActOnRegions

    show_models()
    for operator in (
        OpenRegionSearch,
        EmbedRegions,
        SegmentRegions,
        SearchRegions,
        FindSimilarRegions,
        SimilarRegionsButton,
        UpdateIndex,
        DeleteIndex,
        ExportIndex,
        ComputeRegionVisualization,
        FindOddRegions,
        DescribeRegions,
        AskRegions,
        LabelRegions,
        FinetuneEncoder,
        DownloadModel,
        ActOnRegions,
        RegionSearchPanel,
        LabelRegionsPanel,
    ):
        plugin.register(operator)
