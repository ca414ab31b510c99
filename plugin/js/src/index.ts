import { PluginComponentType, registerComponent } from "@fiftyone/plugins";
import { LabelPanel } from "./label/LabelPanel";
import { registerHandover } from "./server/handover";
import { SearchPanel } from "./search/SearchPanel";

registerHandover();
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
