import { Alert } from "@mui/material";
import React, { useCallback, useState } from "react";
import { Jobs } from "../server/types";
import { Outcome } from "./Jobs";
import { STYLE } from "./style";
import { useStored } from "./useStored";

/**
 * As high as the panel, so that the bars stay and only the gallery scrolls. It is a layer of its own, or the browser
 * compares each of its parts with those of the grid at each change: a third of what a mark takes.
 */
export function Page({ name = "search", children }: { name?: string; children: React.ReactNode }) {
  return (
    <div data-cy={`alphaclip-${name}`}
      style={{ display: "flex", flexDirection: "column", gap: 8, height: "100%", minHeight: 0, padding: 8, boxSizing: "border-box", willChange: "opacity" }}>
      <style>{STYLE}</style>
      {children}
    </div>
  );
}

/** What is told above a page: what went wrong, what was done, and what came of the last job. */
export function useNotices({ outcome }: Jobs) {
  const [error, setError] = useState<Error | null>(null);
  const [said, say] = useState("");
  const [seen, setSeen] = useStored("seen", { at: 0 });
  const see = (at: number) => setSeen({ at });
  const fail = useCallback((error: unknown) => setError(error as Error), []);
  /** Does something that is told of; returns whether it went well. */
  const run = async (work: () => Promise<unknown>) => {
    setError(null);
    say("");
    try {
      await work();
      return true;
    } catch (error) {
      fail(error);
      return false;
    }
  };
  const notices = (
    <>
      {error && <Alert severity="error" onClose={() => setError(null)} sx={{ py: 0 }}>{error.message}</Alert>}
      {said && <Alert severity="success" onClose={() => say("")} sx={{ py: 0 }}>{said}</Alert>}
      {outcome && outcome.at > seen.at && <Outcome outcome={outcome} onClose={() => see(outcome.at)} />}
    </>
  );
  return { notices, run, fail, say, see };
}
