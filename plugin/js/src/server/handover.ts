import { Operator, OperatorConfig, registerOperator } from "@fiftyone/operators";

const NAME = "restore_in_region_search";
const STORED = "alphaclip:restore";
const EVENT = "alphaclip-restore";

/** What an operator of the server triggers, to have the panel restore an entry of the history. */
class Restore extends Operator {
  get config() {
    return new OperatorConfig({ name: NAME, label: "Restore in Region search", unlisted: true });
  }

  async execute({ params }: { params: { entry: string } }) {
    // The panel may be opening at this moment: then it takes the entry once it is there
    sessionStorage.setItem(STORED, params.entry);
    window.dispatchEvent(new Event(EVENT));
  }
}

export function registerHandover() {
  registerOperator(Restore, "@alphaclip/regions");
}

/** Calls with each entry that is handed over, until the returned function is called. */
export function onHandover(take: (entry: string) => void): () => void {
  const look = () => {
    const entry = sessionStorage.getItem(STORED);
    sessionStorage.removeItem(STORED);
    if (entry) take(entry);
  };
  look();
  window.addEventListener(EVENT, look);
  return () => window.removeEventListener(EVENT, look);
}
