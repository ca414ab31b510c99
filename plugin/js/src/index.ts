import { PluginComponentType, registerComponent } from "@fiftyone/plugins";
import { LabelPanel } from "./label/LabelPanel";
import { SearchPanel } from "./search/SearchPanel";

registerComponent({
  name: "AlphaClipRegionSearch",
  component: SearchPanel,
  type: PluginComponentType.Component,
});

registerComponent({
  name: "AlphaClipLabelRegions",
  component: LabelPanel,
  type: PluginComponentType.Component,
});
