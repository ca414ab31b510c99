import { useCallback, useEffect, useRef, useState } from "react";
import { useStored } from "../page/useStored";
import { Audit, Point } from "../server/types";
import { Call } from "../server/useServer";

export const PERSON = "person";

/** Which audit is looked through; it is there again after a reload. */
export interface About {
  key: string;
  concept: string;
}

/**
 * An audit that is looked through. Marks are shown at once, and the server hears of them in order;
 * what it refuses is read anew, as all is where a job has ended that may have marked more.
 */
export function useAudit(call: Call, dataset: string, jobEnded: number | undefined, onError: (error: unknown) => void) {
  const [stored, setStored] = useStored<{ about: About | null }>(`audit:${dataset}`, { about: null });
  const [audit, setAudit] = useState<Audit | null>(null);
  const last = useRef<Promise<unknown>>(Promise.resolve());

  const show = useCallback(async (about: About | null) => {
    setStored({ about });
    setAudit(about && (await call<Audit>("audit", about)));
  }, [call, setStored]);

  const latest = useRef(stored.about);
  latest.current = stored.about;
  useEffect(() => {
    // Not before what was marked here is kept
    last.current.then(() => latest.current && show(latest.current)).catch(() => setStored({ about: null }));
  }, [show, setStored, jobEnded]);

  const mark = (id: string, points: Point[] | null) => {
    if (!audit) return;
    const { key, concept } = audit;
    setAudit((now) => now && { ...now, pictures: now.pictures.map((one) => (one.id === id ? { ...one, points, judge: points && PERSON } : one)) });
    const mine = last.current.then(() => call<{ said: string }>("mark_unseen", { key, concept, id, points })).then(
      ({ said }) => setAudit((now) => now && { ...now, said }),
      (error) => {
        onError(error);
        return show({ key, concept }).catch(onError);
      },
    );
    last.current = mine;
  };
  return { audit, show, mark };
}

export type AuditState = ReturnType<typeof useAudit>;
