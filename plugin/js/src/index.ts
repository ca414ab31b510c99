import { PluginComponentType, registerComponent } from "@fiftyone/plugins";
import "./label_keys.js";
import { SearchPanel } from "./search/SearchPanel";

registerComponent({
  name: "AlphaClipRegionSearch",
  component: SearchPanel,
  type: PluginComponentType.Component,
});
