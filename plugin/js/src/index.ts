import { PluginComponentType, registerComponent } from "@fiftyone/plugins";
import "./label_keys.js";
import { registerHandover } from "./server/handover";
import { SearchPanel } from "./search/SearchPanel";

registerHandover();
registerComponent({
  name: "AlphaClipRegionSearch",
  component: SearchPanel,
  type: PluginComponentType.Component,
});
