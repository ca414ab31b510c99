import { executeOperator } from "@fiftyone/operators";
import { useCallback, useRef } from "react";

/** Sends an event of the panel and resolves with its answer; rejects with what went wrong. */
export type Call = <T = object>(event: string, params?: object) => Promise<T>;

/** Names of a panel's events, with the operators that they are called by. */
export type Events = Record<string, string>;

/** Not by the App's hook for events of panels, which draws the panel and its tab anew at the beginning and the end of each. */
export function useServer(events: Events): Call {
  const latest = useRef(events);
  latest.current = events;
  return useCallback(
    <T>(event: string, params: object = {}) =>
      new Promise<T>((resolve, reject) => {
        const operator = latest.current[event];
        if (!operator) return reject(new Error(`the panel has no event “${event}”`));
        executeOperator(operator, params, {
          skipErrorNotification: true,
          callback: ({ result, error, errorMessage }) => {
            const told = error ? (errorMessage ?? error) : (result as { error?: string })?.error;
            if (told) reject(new Error(String(told)));
            else resolve((result ?? {}) as T);
          },
        });
      }),
    [],
  );
}
