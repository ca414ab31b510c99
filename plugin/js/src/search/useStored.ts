import { Dispatch, SetStateAction, useCallback, useEffect, useState } from "react";

const PREFIX = "alphaclip:";

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
  return [value, set];
}

function read<T>(name: string, start: T): T {
  try {
    const text = sessionStorage.getItem(PREFIX + name);
    return text ? { ...start, ...JSON.parse(text) } : start;
  } catch {
    return start;
  }
}
