import { useCallback, useEffect, useRef, useState } from "react";
import { Call } from "../server/useServer";
import { Answer, Review, SKIPPED, WRONG } from "./types";

type Answers = Record<string, Answer | undefined>;

/**
 * What waits, and a person's answers: painted at once, and sent in their order in the background, all
 * that came together in one event.
 */
export function useReview(call: Call, into: string, classes: object, onError: (error: unknown) => void) {
  const [review, setReview] = useState<Review | null>(null);
  const [answers, setAnswers] = useState<Answers>({});
  const log = useRef<{ id: string; before: Answer | undefined }[]>([]);
  const pending = useRef<Answers>({});
  const sending = useRef<Promise<void> | null>(null);

  useEffect(() => {
    let isOver = false;
    call<Review>("review", { into, classes }).then((review) => {
      if (isOver) return;
      setReview(review);
      const given = review.items.filter((item) => item.answer !== undefined);
      setAnswers(Object.fromEntries(given.map(({ id, answer }) => [id, answer])));
    }, onError);
    return () => { isOver = true; };
  }, [call, into, onError]);

  const send = useCallback(async () => {
    for (;;) {
      const some = pending.current;
      const ids = Object.keys(some);
      if (!ids.length) break;
      pending.current = {};
      const isSkipped = (id: string) => some[id] === SKIPPED || some[id] === WRONG;
      const told = ids.filter((id) => some[id] !== undefined && !isSkipped(id));
      try {
        await call("answer", {
          into,
          answers: Object.fromEntries(told.map((id) => [id, some[id]])),
          skipped: ids.filter(isSkipped),
          withdrawn: ids.filter((id) => some[id] === undefined),
        });
      } catch (error) {
        onError(error);
        // What was not kept is not shown as answered
        setAnswers((before) => ({ ...before, ...Object.fromEntries(ids.map((id) => [id, undefined])) }));
      }
    }
    sending.current = null;
  }, [call, into, onError]);

  const give = (id: string, answer: Answer | undefined) => {
    setAnswers((before) => ({ ...before, [id]: answer }));
    pending.current[id] = answer;
    sending.current ??= send();
  };
  return {
    review,
    answers,
    answer: (id: string, answer: Answer) => {
      log.current.push({ id, before: answers[id] });
      give(id, answer);
    },
    /** Takes back the last answer, and returns whose it was. */
    undo: () => {
      const last = log.current.pop();
      if (last) give(last.id, last.before);
      return last?.id;
    },
    /** Waits until all is kept. */
    sent: () => sending.current ?? Promise.resolve(),
  };
}
