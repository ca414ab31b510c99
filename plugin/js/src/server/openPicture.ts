import { Call } from "./useServer";

const TRIES = 12;
const WAIT_MS = 400;

/**
 * Opens a picture with a region selected. Where the grid does not show it yet, the event sets a view
 * that does: the App has nothing but an error page for a picture that is opened before it has that view.
 */
export async function openPicture(call: Call, sample: string, label: string | null, field: string | null) {
  for (let turn = 0; turn < TRIES; turn++) {
    const { again } = await call<{ again?: boolean }>("open_picture", { sample, label, field, is_again: turn > 0 });
    if (!again) return;
    await new Promise((done) => setTimeout(done, WAIT_MS));
  }
}
