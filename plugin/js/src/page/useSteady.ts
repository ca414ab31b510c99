import { useMemo, useRef } from "react";

type Functions = Record<string, (...args: any[]) => void>;

/**
 * Functions that stay the same, and do what those of the last render do: what is drawn with them need
 * not be drawn anew at each.
 */
export function useSteady<T extends Functions>(functions: T): T {
  const latest = useRef(functions);
  latest.current = functions;
  return useMemo(() => {
    const steady = (name: keyof T) => (...args: any[]) => latest.current[name]!(...args);
    return Object.fromEntries(Object.keys(functions).map((name) => [name, steady(name)])) as T;
  }, []);
}
