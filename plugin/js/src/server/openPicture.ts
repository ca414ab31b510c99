import { executeOperator } from "@fiftyone/operators";
import { Call } from "./useServer";

const TRIES = 12;
const WAIT_MS = 400;

interface Opened {
  id?: string;
  field?: string;
  frame?: number;
}

/**
 * Opens a picture with a region selected. Where the grid does not show it yet, the event sets a view
 * that does: the App has nothing but an error page for a picture that is opened before it has that view.
 */
export async function openPicture(call: Call, sample: string, label: string | null, field: string | null) {
  for (let turn = 0; turn < TRIES; turn++) {
    const params = { sample, label, field, is_again: turn > 0 };
    const { id, field: own, frame } = await call<Opened>("open_picture", params);
    if (id) {
      // Each is drawn in a task of its own: for the first, the App draws its whole grid anew
      const selected = { label_id: label, sample_id: id, field: own, ...(frame && { frame_number: frame }) };
      if (label) await perform("set_selected_labels", { labels: [selected] });
      return perform("open_sample", { id });
    }
    await new Promise((done) => setTimeout(done, WAIT_MS));
  }
}

/** Has the App do one of its own operators; resolves once that is painted. */
function perform(operator: string, params: object): Promise<void> {
  return new Promise((done) => {
    const callback = () => requestAnimationFrame(() => setTimeout(done));
    executeOperator(`@voxel51/operators/${operator}`, params, { callback });
  });
}
