import { useCallback, useReducer, useRef } from "react";
import { Tile } from "../server/types";
import { Call } from "../server/useServer";

const BATCH = 24;

interface Cache {
  question: object | null;
  side: number;
  tiles: Map<number, Tile | null>;
  waiting: Set<number>;
}

/** Fetches the tiles of a question's hits as they come into sight, and keeps them. */
export function useTiles(call: Call, question: object | null, side: number, onError: (error: unknown) => void) {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const cache = useRef<Cache>({ question: null, side, tiles: new Map(), waiting: new Set() });
  if (cache.current.question !== question || cache.current.side !== side) {
    // Larger crops replace smaller ones as they come: nothing blinks while the slider moves
    const tiles = cache.current.question === question ? cache.current.tiles : new Map();
    cache.current = { question, side, tiles: new Map(tiles), waiting: new Set() };
  }

  const fetch = useCallback(
    async (ranks: number[], withCrops: boolean) => {
      const now = cache.current;
      if (!now.question) return;
      const params = { question: now.question, ranks, side: withCrops ? now.side : null };
      const { tiles } = await call<{ tiles: Tile[] }>("tiles", params);
      if (now !== cache.current) return;
      for (const rank of ranks) if (!now.tiles.has(rank)) now.tiles.set(rank, null);
      for (const tile of tiles) {
        const crop = tile.crop ?? now.tiles.get(tile.rank)?.crop;
        now.tiles.set(tile.rank, { ...tile, crop });
      }
      redraw();
    },
    [call],
  );

  const request = useCallback(
    (ranks: number[]) => {
      const { waiting } = cache.current;
      const missing = ranks.filter((rank) => !waiting.has(rank));
      missing.forEach((rank) => waiting.add(rank));
      for (let start = 0; start < missing.length; start += BATCH) {
        const some = missing.slice(start, start + BATCH);
        fetch(some, true).catch((error) => {
          some.forEach((rank) => waiting.delete(rank));
          onError(error);
        });
      }
    },
    // Another one for each question and size: whoever has the same ranks in sight asks anew
    [fetch, question, side, onError],
  );

  /** Reads the labels and tags of the tiles anew. */
  const refresh = useCallback(async () => {
    const ranks = [...cache.current.tiles.keys()];
    for (let start = 0; start < ranks.length; start += 200) {
      await fetch(ranks.slice(start, start + 200), false);
    }
  }, [fetch]);

  return { tiles: cache.current.tiles, request, refresh };
}
