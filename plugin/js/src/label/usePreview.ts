import { useCallback, useEffect, useRef, useState } from "react";
import { Call } from "../server/useServer";
import { asClasses } from "./Classes";
import { Counted } from "./types";

const REST_MS = 400;

interface Previewed {
  lines: string[];
  rows: Counted[];
  error: string;
}

/** Counts the regions of each class once a person pauses; what comes of an old text is dropped. */
export function usePreview(call: Call, key: string, classes: ReturnType<typeof asClasses>, wrong: string[]) {
  const [preview, setPreview] = useState<Previewed>({ lines: [], rows: [], error: "" });
  const typed = JSON.stringify({ key, classes, wrong });
  const latest = useRef(typed);
  latest.current = typed;
  const isBusy = useRef(false);
  const ask = useCallback(async () => {
    if (isBusy.current) return;
    isBusy.current = true;
    for (let done = ""; done !== latest.current; ) {
      done = latest.current;
      const params = JSON.parse(done);
      const lines = params.classes.lines.map((line: string) => line.trim());
      try {
        const { rows } = await call<{ rows: Counted[] }>("preview", params);
        if (done === latest.current) setPreview({ lines, rows, error: "" });
      } catch (error) {
        if (done === latest.current) setPreview((before) => ({ ...before, error: (error as Error).message }));
      }
    }
    isBusy.current = false;
  }, [call]);
  const isEmpty = !classes.set && !classes.lines.some((line) => line.trim());
  useEffect(() => {
    if (isEmpty) return setPreview({ lines: [], rows: [], error: "" });
    const timer = setTimeout(() => void ask(), REST_MS);
    return () => clearTimeout(timer);
  }, [typed, isEmpty, ask]);

  const [, line] = /^line (\d+): /.exec(preview.error) ?? [];
  const counted = preview.lines.filter(Boolean);
  return {
    rows: preview.rows,
    /** What is wrong with the classes together. */
    error: line ? "" : preview.error,
    /** What is wrong with one of them. */
    errorOf: (number: number) => (Number(line) === number + 1 ? preview.error : ""),
    of: (text: string): Counted | undefined => preview.rows[counted.indexOf(text.trim())],
  };
}
