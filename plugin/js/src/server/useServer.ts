import { useTriggerPanelEvent } from "@fiftyone/operators";
import { useCallback, useRef } from "react";

/** Sends an event of the panel and resolves with its answer; rejects with what went wrong. */
export type Call = <T = object>(event: string, params?: object) => Promise<T>;

/** Names of a panel's events, with the operators that they are called by. */
export type Events = Record<string, string>;

export function useServer(events: Events): Call {
  const trigger = useTriggerPanelEvent();
  const latest = useRef({ trigger, events });
  latest.current = { trigger, events };
  return useCallback(
    <T>(event: string, params: object = {}) =>
      new Promise<T>((resolve, reject) => {
        const { trigger, events } = latest.current;
        const operator = events[event];
        if (!operator) return reject(new Error(`the panel has no event “${event}”`));
        trigger(operator, params, false, ({ result, error, errorMessage }) => {
          const told = error ? (errorMessage ?? error) : (result as { error?: string })?.error;
          if (told) reject(new Error(String(told)));
          else resolve((result ?? {}) as T);
          return false;
        });
      }),
    [],
  );
}
