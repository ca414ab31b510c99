import { useCallback, useEffect, useReducer, useRef, useState } from "react";
import { useStored } from "../page/useStored";
import { Finding, Kind, OddDetail, OddRegion, Tile } from "../server/types";
import { Call } from "../server/useServer";

const BATCH = 6;
/** A person who decides goes on within it, and is not disturbed. */
const QUIET_MS = 3000;

/** What a person decided about a region: a class, a tag, or to keep it as it is. */
export interface Decision {
  id: string;
  label?: string;
  tag?: string;
}

/**
 * A finding that is looked through. Decisions are shown at once; the server hears of them in order,
 * and one that it refuses is taken back here. It knows those from before a reload.
 */
export function useFinding(call: Call, dataset: string, onError: (error: unknown) => void) {
  const [stored, setStored] = useStored<{ entry: string | null }>(`finding:${dataset}`, { entry: null });
  const [finding, setFinding] = useState<Finding | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [decisions, setDecisions] = useState<Decision[]>([]);
  const queue = useQueue(call, onError);

  const show = useCallback((next: Finding | null) => {
    setFinding(next);
    setDecisions([]);
    setStored({ entry: next?.entry ?? null });
  }, [setStored]);

  // After a reload: what was looked through before, without what was decided
  const before = useRef(stored.entry);
  useEffect(() => {
    const entry = before.current;
    if (!entry) return;
    call<{ finding?: Finding }>("restore", { entry }).then(({ finding }) => show(finding ?? null), () => show(null));
  }, [call, show]);

  const find = useCallback(async (kind: Kind, key: string, attribute = "label") => {
    setBusy(true);
    try {
      const answer = await call<Finding & { at: number }>("find_odd", { kind, key, attribute });
      show(answer);
      return answer;
    } finally {
      setBusy(false);
    }
  }, [call, show]);

  const about = { kind: finding?.kind, key: finding?.key, attribute: finding?.attribute, labels: finding?.labels };
  const forget = (id: string) => setDecisions((before) => before.filter((one) => one.id !== id));
  const takeBack = (id: string) => {
    forget(id);
    void queue(() => call<Changed>("undecide", { ...about, id }));
  };
  const decide = (decision: Decision) => {
    if (decisions.some(({ id }) => id === decision.id)) takeBack(decision.id);
    setDecisions((before) => [...before, decision]);
    void queue(() => call<Changed>("decide", { ...about, ...decision }), () => forget(decision.id));
  };
  /** Takes the last decision back, also one from before a reload; returns which region it was about. */
  const undo = async () => {
    const last = decisions.at(-1);
    if (last) {
      takeBack(last.id);
      return last.id;
    }
    const entry = finding!.entry;
    const undone = await queue(() => call<Changed & { id: string | null }>("undecide", { ...about, entry }));
    setFinding((await call<{ finding: Finding }>("restore", { entry })).finding);
    return undone?.id ?? null;
  };
  return { finding, isBusy, show, find, decide, undo, decisions };
}

export type FindingState = ReturnType<typeof useFinding>;

interface Changed {
  /** Whether a label is another now. */
  is_changed: boolean;
}

/**
 * Sends one after the other. Where labels changed, the grid is drawn anew once nothing was sent for a
 * while: that keeps the App busy for some tenths of a second.
 */
function useQueue(call: Call, onError: (error: unknown) => void) {
  const last = useRef<Promise<unknown>>(Promise.resolve());
  const timer = useRef(0);
  const isStale = useRef(false);
  return <T extends Changed>(send: () => Promise<T>, onFailure?: () => void): Promise<T | undefined> => {
    clearTimeout(timer.current);
    const mine = last.current.then(send).then((answer) => {
      isStale.current ||= answer.is_changed;
      return answer;
    }).catch((error) => {
      onFailure?.();
      onError(error);
      return undefined;
    });
    last.current = mine;
    void mine.then(() => {
      if (mine !== last.current || !isStale.current) return;
      timer.current = window.setTimeout(() => {
        isStale.current = false;
        call("reload_grid").catch(onError);
      }, QUIET_MS);
    });
    return mine;
  };
}

/** Fetches what there is to see of odd regions, and keeps it. */
export function useDetails(call: Call, finding: Finding, side: number, onError: (error: unknown) => void) {
  const { entry, kind, key, attribute, labels } = finding;
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const cache = useRef({ entry, waiting: new Set<string>(), rows: new Map<string, OddDetail>(), tiles: new Map<string, Tile>() });
  if (cache.current.entry !== entry)
    cache.current = { entry, waiting: new Set(), rows: new Map(), tiles: new Map() };

  const request = useCallback((regions: OddRegion[]) => {
    const now = cache.current;
    const missing = regions.filter(({ id }) => !now.waiting.has(id));
    missing.forEach(({ id }) => now.waiting.add(id));
    for (let start = 0; start < missing.length; start += BATCH) {
      const some = missing.slice(start, start + BATCH);
      const notes = Object.fromEntries(some.map(({ id, note }) => [id, note]));
      call<{ rows: Record<string, OddDetail>; tiles: Record<string, Tile> }>("finding_rows", { kind, key, attribute, labels, notes, side }).then(
        ({ rows, tiles }) => {
          for (const [id, row] of Object.entries(rows)) now.rows.set(id, row);
          for (const [id, tile] of Object.entries(tiles)) now.tiles.set(id, tile);
          redraw();
        },
        (error) => {
          some.forEach(({ id }) => now.waiting.delete(id));
          onError(error);
        },
      );
    }
  }, [call, entry, kind, key, attribute, labels, side, onError]);
  return { rows: cache.current.rows, tiles: cache.current.tiles, request };
}

/** The next region after a position that nobody has decided about, from the start again after the last; else the same. */
export function nextOpen(rows: OddRegion[], decided: Set<string>, position: number): number {
  const order = [...rows.keys()];
  const next = [...order.slice(position + 1), ...order.slice(0, position)];
  return next.find((one) => !decided.has(rows[one]!.id)) ?? position;
}
