import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Answer, Mark, Question } from "../server/types";
import { Call } from "../server/useServer";
import { useStored } from "../page/useStored";

/** What the search bar holds. */
export interface Form {
  mode: Question["mode"];
  words: string;
  avoid: string;
  like: string[];
  unlike: string[];
  picture: Question["picture"];
  keys: string[];
  inside: boolean;
  /** The attribute whose text the words are matched with too. */
  captions?: string | null;
}

/** The hits of a question. */
export interface Found extends Answer {
  cosines: Float32Array;
}

export const EMPTY: Form = {
  mode: "regions", words: "", avoid: "", like: [], unlike: [], picture: null, keys: [], inside: false,
  captions: null,
};

interface Stored {
  question: Question | null;
  threshold: number;
  selected: string[];
  marks: Record<string, Mark>;
}

const NOTHING: Stored = { question: null, threshold: -1, selected: [], marks: {} };

/**
 * What a tab searched for, and what a person made of the hits. It stays in the tab's own storage, so
 * that it is there after a reload and no other tab changes it.
 */
export function useSearch(call: Call, dataset: string, onError: (error: Error) => void) {
  const [form, setForm] = useStored<Form>(`form:${dataset}`, EMPTY);
  const [stored, setStored] = useStored<Stored>(`search:${dataset}`, NOTHING);
  const [found, setFound] = useState<Found | null>(null);
  const [isBusy, setBusy] = useState(false);
  const turn = useRef(0);

  const ask = useCallback(
    async (question: Question, more: { inside?: boolean; remember?: boolean } = {}) => {
      const mine = ++turn.current;
      setBusy(true);
      try {
        const answer = await call<Answer>("search", { question, ...more });
        if (mine === turn.current) setFound({ ...answer, cosines: unpacked(answer.scores) });
        return mine === turn.current ? answer : null;
      } catch (error) {
        if (mine === turn.current) onError(error as Error);
        return null;
      } finally {
        if (mine === turn.current) setBusy(false);
      }
    },
    [call, onError],
  );

  // After a reload: the same question with the same time is answered from memory, if it is there
  const stale = useRef(stored.question);
  useEffect(() => {
    if (stale.current) void ask(stale.current);
  }, [ask]);

  /** Returns the examples and marked regions that are gone. */
  const search = useCallback(
    async (next: Form & { concept?: string | null }, marks: Record<string, Mark> = {}) => {
      const { inside, ...parts } = next;
      const question = { ...parts, ...asLists(marks) };
      const answer = await ask(question, { inside, remember: true });
      if (!answer) return [];
      // All hits first: what is suggested is one click away, and may leave a single crop
      const threshold = answer.low;
      const stays = (id: string) => !answer.lost.includes(id);
      if (answer.lost.length)
        setForm((before) => ({ ...before, like: before.like.filter(stays), unlike: before.unlike.filter(stays) }));
      // Marks are of what was looked for: they stay for as long as that does
      setStored((before) => {
        const isSame = subject(before.question) === subject(answer.question);
        const kept = Object.entries(isSame ? { ...before.marks, ...marks } : marks);
        const held = Object.fromEntries(kept.filter(([id]) => stays(id)));
        return { question: answer.question, threshold, selected: [], marks: held };
      });
      return answer.lost;
    },
    [ask, setForm, setStored],
  );

  /** Asks a detector for the words in the best hits, or a language model a question about them, and shows them in
   * its order; returns what it says. */
  const lookAgain = useCallback(async (event: "verify" | "ask_model", params: object = {}) => {
    setBusy(true);
    try {
      const { question, said } = await call<{ question: Question; said: string }>(event, { question: found?.question, ...params });
      const answer = await ask(question);
      if (answer) setStored((before) => ({ ...before, question, threshold: question.prompt ? answer.low : before.threshold }));
      return said;
    } finally {
      setBusy(false);
    }
  }, [ask, call, found, setStored]);

  const selected = useMemo(() => new Set(stored.selected), [stored.selected]);
  return {
    form, setForm, found, isBusy, search, lookAgain, selected,
    marks: stored.marks,
    threshold: stored.threshold,
    setThreshold: useCallback((threshold: number) => setStored((s) => ({ ...s, threshold })), [setStored]),
    select: useCallback(
      (change: (selected: string[]) => string[]) =>
        setStored((s) => ({ ...s, selected: change(s.selected) })),
      [setStored],
    ),
    mark: useCallback(
      (change: (marks: Record<string, Mark>) => Record<string, Mark>) =>
        setStored((s) => ({ ...s, marks: change(s.marks) })),
      [setStored],
    ),
    clear: useCallback(() => {
      turn.current += 1;
      setForm((before) => ({ ...EMPTY, keys: before.keys }));
      setStored(NOTHING);
      setFound(null);
      setBusy(false);
    }, [setForm, setStored]),
  };
}

export type SearchState = ReturnType<typeof useSearch>;

/** What the scores of a question's hits are. */
export function measureOf({ prompt }: Question): string {
  return prompt ? `“${prompt.choices[0]}”` : "cosine";
}

export function asLists(marks: Record<string, Mark>) {
  const of = (mark: Mark) => Object.keys(marks).filter((id) => marks[id] === mark);
  return { right: of("right"), wrong: of("wrong") };
}

/** What a question is about, whatever was marked and wherever it was put. */
function subject(question: Question | null): string {
  if (!question) return "";
  const { mode, words, like, picture, keys } = question;
  return JSON.stringify([mode, words, like, picture, keys]);
}

function unpacked(text: string): Float32Array {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}
