import { Dispatch, SetStateAction, useCallback, useEffect, useState } from "react";

const PREFIX = "alphaclip:";
const CHANGED = "alphaclip-stored";

/** State that outlives a reload, in this tab only. */
export function useStored<T>(name: string, start: T): [T, Dispatch<SetStateAction<T>>] {
  const [state, setState] = useState({ name, value: read(name, start) });
  const value = state.name === name ? state.value : read(name, start);
  const set = useCallback<Dispatch<SetStateAction<T>>>(
    (next) =>
      setState((before) => {
        const old = before.name === name ? before.value : read(name, start);
        return { name, value: next instanceof Function ? next(old) : next };
      }),
    [name],
  );
  useEffect(() => {
    try {
      sessionStorage.setItem(PREFIX + name, JSON.stringify(value));
    } catch {
      // A full or forbidden storage only costs what a reload would bring back
    }
  }, [name, value]);
  useEffect(() => {
    const reread = (event: Event) => {
      if ((event as CustomEvent).detail === name) setState({ name, value: read(name, start) });
    };
    window.addEventListener(CHANGED, reread);
    return () => window.removeEventListener(CHANGED, reread);
  }, [name]);
  return [value, set];
}

/** Changes the state of another page, whether it is shown or not. */
export function changeStored<T>(name: string, start: T, change: (before: T) => T) {
  sessionStorage.setItem(PREFIX + name, JSON.stringify(change(read(name, start))));
  window.dispatchEvent(new CustomEvent(CHANGED, { detail: name }));
}

function read<T>(name: string, start: T): T {
  try {
    const text = sessionStorage.getItem(PREFIX + name);
    return text ? { ...start, ...JSON.parse(text) } : start;
  } catch {
    return start;
  }
}
