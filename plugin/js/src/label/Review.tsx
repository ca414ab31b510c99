import { Alert, Autocomplete, LinearProgress, MenuItem, Select, TextField } from "@mui/material";
import React, { KeyboardEvent, memo, useCallback, useEffect, useMemo, useReducer, useRef, useState } from "react";
import { Gallery } from "../gallery/Gallery";
import { Sign } from "../gallery/Tile";
import { useTiles } from "../gallery/useTiles";
import { Plain } from "../page/controls";
import { Tile } from "../server/types";
import { openPicture } from "../server/openPicture";
import { Call } from "../server/useServer";
import { Answer, Item, LabelTile, Review, SKIPPED, spelled, WRONG } from "./types";
import { useReview } from "./useReview";

const SIDE = 96;
const CROP = 128;
const LARGE = 480;
const AHEAD = 6;
const CHOICES_AHEAD = 24;
const KEYS = "y right · n wrong · 1–9 a class · 0 none of these · space skip · u undo · arrows · o opens the picture";
const OWN_KEYS = "input, textarea, select, [role=combobox], [role=listbox]";
const NONE: string[] = [];

interface Props {
  call: Call;
  into: string;
  classes: object;
  isBusy: boolean;
  /** Whether a run is about to take other regions to review. */
  isRunning: boolean;
  onLabel: (retrain: boolean) => void;
  onError: (error: unknown) => void;
}

/** The regions that wait for a person, one of them large. */
export function ReviewPage({ call, into, classes, isBusy, isRunning, onLabel, onError }: Props) {
  const state = useReview(call, into, classes, onError);
  const [only, setOnly] = useState("all");
  const { review, answers } = state;
  const page = useRef<HTMLDivElement>(null);
  const onChosen = useCallback(() => focusCurrent(page.current), []);
  const items = useMemo(() => review?.items.filter((item) => isMeant(item, only)) ?? [], [review, only]);
  if (!review) return <LinearProgress />;
  return (
    <div ref={page} style={{ flex: 1, minHeight: 0, display: "flex", flexDirection: "column", gap: 8 }}>
      <Head review={review} answers={answers} only={only} onOnly={setOnly} isBusy={isBusy}
        onChosen={onChosen}
        onLabel={(retrain) => void state.sent().then(() => onLabel(retrain))} />
      {isRunning ? (
        <p>What to review comes with the run.</p>
      ) : items.length ? (
        <Answering key={only} {...{ call, into, items, state, onError }} />
      ) : (
        <p>Nothing waits here any more.</p>
      )}
    </div>
  );
}

/** Has the keys answer again, which a list that was open took. */
function focusCurrent(page: HTMLElement | null) {
  const tile = page?.querySelector<HTMLElement>(".alphaclip-tile [aria-pressed=true]");
  (tile ?? page?.querySelector<HTMLElement>(".alphaclip-gallery"))?.focus();
}

interface HeadProps {
  review: Review;
  answers: Record<string, Answer | undefined>;
  only: string;
  onOnly: (only: string) => void;
  /** Called once the list is closed, whatever was chosen. */
  onChosen: () => void;
  isBusy: boolean;
  onLabel: (retrain: boolean) => void;
}

function Head({ review, answers, only, onOnly, onChosen, isBusy, onLabel }: HeadProps) {
  const gained = (purpose: Item["purpose"]) => review.items.filter((item) => item.purpose === purpose)
    .reduce((sum, { id, answer }) => sum + Number(answers[id] !== undefined) - Number(answer !== undefined), 0);
  const reviewed = review.reviewed + gained("promise");
  const waiting = Math.max(review.waiting - gained("training"), 0);
  const { sample, next_sample: next } = review;
  const isWhole = sample > 0 && reviewed === sample && !review.is_tested;
  const isLost = review.is_lost && !isWhole;
  const isOver = review.has_failed || isLost;
  return (
    <>
      {sample > 0 && <LinearProgress variant="determinate" value={(100 * reviewed) / sample} aria-label="Answered" />}
      <div style={{ display: "flex", gap: 8, alignItems: "center", flexWrap: "wrap", fontSize: 13 }}>
        <b role="status">
          {sample > 0 && `${reviewed.toLocaleString("en")} of ${sample.toLocaleString("en")} answered; `}
          {waiting.toLocaleString("en")} wait in the queue
        </b>
        <Show classes={review.classes} {...{ only, onOnly, onChosen }} />
        {next > 0 && (isOver || (reviewed > 0 && reviewed < sample && !review.is_tested)) && (
          <LearnButton answers={next} isOn={isOver} disabled={isBusy} onClick={() => onLabel(true)} />
        )}
        {!(next > 0 && review.has_failed) && (
          <Plain isOn={isWhole} disabled={isBusy} onClick={() => onLabel(false)}
            title="Label again with the answers that were given">Label</Plain>
        )}
      </div>
      {isWhole && (
        <Alert severity="success" sx={{ py: 0 }}>
          The random sample is reviewed. “Label” tests it now, and writes the labels that can be promised.
        </Alert>
      )}
      {isLost && (
        <Alert severity="warning" sx={{ py: 0 }}>
          This sample cannot pass its test: even if all that waits of it is right, that is not enough. Review no more of it.
        </Alert>
      )}
      {review.is_stale && (
        <Alert severity="warning" sx={{ py: 0 }}>
          The classes were edited since the last run: what is shown here was taken for those before.
        </Alert>
      )}
    </>
  );
}

/** The list of what is shown: no answer draws its hundreds of lines anew. */
const Show = memo(({ classes, only, onOnly, onChosen }: Pick<HeadProps, "only" | "onOnly" | "onChosen"> & { classes: string[] }) => (
  <Select size="small" value={only} onChange={(event) => onOnly(event.target.value)}
    MenuProps={{ disableRestoreFocus: true, TransitionProps: { onExited: onChosen } }}
    inputProps={{ "aria-label": "Show" }} sx={{ fontSize: 13 }}>
    <MenuItem value="all">all</MenuItem>
    <MenuItem value="queue">the queue: teach first</MenuItem>
    {classes.slice(0, 300).map((name) => <MenuItem key={name} value={`c${name}`}>{name}</MenuItem>)}
    <MenuItem value="none">none of these</MenuItem>
  </Select>
));

interface AnsweringProps {
  call: Call;
  into: string;
  items: Item[];
  state: ReturnType<typeof useReview>;
  onError: (error: unknown) => void;
}

function Answering({ call, into, items, state, onError }: AnsweringProps) {
  const { review, answers } = state;
  const first = items.findIndex(({ id }) => answers[id] === undefined);
  const [at, setAt] = useState(Math.max(first, 0));
  const item = items[Math.min(at, items.length - 1)]!;
  const choices = useChoices(call, into, items.slice(at, at + CHOICES_AHEAD).map(({ id }) => id))(item.id);
  const large = useLarge(call, into, items.slice(at, at + AHEAD).map(({ id }) => id));
  const { tiles, request } = useTiles(useCrops(call, into, items), items, CROP, onError);
  const marks = Object.fromEntries(items.flatMap((one) => {
    const sign = signOf(one, answers[one.id]);
    return sign ? [[one.id, sign]] : [];
  }));

  const answer = (one: Answer) => {
    state.answer(item.id, one);
    const isOpen = ({ id }: Item, position: number) => position > at && answers[id] === undefined;
    const next = items.findIndex(isOpen);
    setAt(next < 0 ? Math.min(at + 1, items.length - 1) : next);
  };
  const wrong = () => {
    const [name, another] = review!.classes;
    // Of a single class, what it is not is known
    if (another !== undefined || name === undefined) return answer(WRONG);
    return answer(item.taken_for === null ? name : null);
  };
  const undo = () => {
    const position = items.findIndex(({ id }) => id === undone);
    if (position >= 0) setAt(position);
  };
  let undone: string | undefined;
  const actions: Record<string, () => void> = {
    y: () => answer(item.taken_for),
    n: wrong,
    " ": () => answer(SKIPPED),
    "0": () => answer(null),
    u: () => { undone = state.undo(); undo(); },
    ...Object.fromEntries(choices.map((name, number) => [String(number + 1), () => answer(name)])),
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const target = event.target as Element;
    const isShortcut = event.ctrlKey || event.metaKey || event.altKey;
    if (isShortcut || target.closest(OWN_KEYS) || !(event.key in actions)) return;
    if (event.key === " " && target.closest("button:not([data-position])")) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) actions[event.key]!();
  };
  const crop = large?.crop ?? tiles.get(at)?.crop;
  return (
    <div style={{ flex: 1, minHeight: 0, display: "flex", gap: 10 }} onKeyDownCapture={onKeyDown}
      onFocus={(event) => {
        const tile = (event.target as HTMLElement).dataset.position;
        if (tile !== undefined) setAt(Number(tile));
      }}>
      <div style={{ flex: "0 0 min(45%, 340px)", overflowY: "auto", fontSize: 13 }} data-current={item.id}>
        {crop ? <img src={crop} alt={`Large: ${spelled(item.taken_for)}`} style={{ display: "block", width: "100%", borderRadius: 4 }} />
          : <div style={{ aspectRatio: "1" }} />}
        <p style={{ margin: "6px 0" }}>Taken for <b>{spelled(item.taken_for)}</b></p>
        <div style={{ display: "flex", flexWrap: "wrap", gap: 4 }}>
          <Choice name="y" label="right" isOn={signOf(item, answers[item.id]) === "right"} onClick={actions.y!} />
          <Choice name="n" label="wrong" isOn={answers[item.id] === WRONG} onClick={wrong} />
          <Choice name="space" label="skip" isOn={answers[item.id] === SKIPPED} onClick={actions[" "]!} />
          <Choice name="u" label="undo" onClick={actions.u!} />
        </div>
        <div style={{ display: "flex", flexWrap: "wrap", gap: 4, padding: "6px 0" }}>
          {choices.map((name, number) => (
            <Choice key={name} name={String(number + 1)} label={name} isOn={answers[item.id] === name} onClick={() => answer(name)} />
          ))}
          <Choice name="0" label="none of these" isOn={answers[item.id] === null} onClick={() => answer(null)} />
        </div>
        {review!.classes.length > choices.length && (
          <Autocomplete key={item.id} size="small" options={review!.classes} onChange={(_, name) => name && answer(name)}
            renderInput={(params) => <TextField {...params} label="Another class" />} />
        )}
        <p style={{ opacity: 0.7, fontSize: 12 }}>{KEYS}</p>
      </div>
      <Gallery ranks={useMemo(() => items.map((_, rank) => rank), [items])} tiles={tiles} request={request} side={SIDE}
        title={`${items.length.toLocaleString("en")} regions to review`} current={at} selected={new Set([item.id])} marks={marks}
        captionAt={(position) => captionOf(items[position]!, answers)} isMarkable={false} onSelect={() => undefined} onSelectRanks={() => undefined}
        onClear={() => undefined} onMark={() => undefined} onExplain={() => undefined}
        onOpen={({ sample, label_id, field }) => {
          if (sample) openPicture(call, sample, label_id, field).catch(onError);
        }}
        enlarge={async ({ id }) => (await call<{ tiles: LabelTile[] }>("crops", { into, ids: [id], side: LARGE })).tiles[0]?.crop} />
    </div>
  );
}

interface LearnProps {
  answers: number;
  isOn: boolean;
  disabled: boolean;
  onClick: () => void;
}

/** What to do next where a sample was not enough. */
export function LearnButton({ answers, ...button }: LearnProps) {
  return (
    <Plain {...button} title="How many answers the new sample takes">
      Learn from these answers and draw a new sample: {answers.toLocaleString("en")}
    </Plain>
  );
}

interface ChoiceProps {
  name: string;
  label: string;
  isOn?: boolean;
  onClick: () => void;
}

function Choice({ name, label, isOn = false, onClick }: ChoiceProps) {
  return (
    <Plain isPressed={isOn} onClick={onClick}>
      <kbd style={{ opacity: isOn ? 1 : 0.7, marginRight: 4 }}>{name}</kbd>{label}
    </Plain>
  );
}

/** Has the gallery's tiles come from the ids of items. */
function useCrops(call: Call, into: string, items: Item[]): Call {
  const fetch = useCallback(async (_: string, { ranks, side }: { ranks: number[]; side: number }) => {
    const ids = ranks.map((rank) => items[rank]!.id);
    const { tiles } = await call<{ tiles: LabelTile[] }>("crops", { into, ids, side });
    return { tiles: tiles.map((tile, number): Tile => ({ ...tile, rank: ranks[number]!, label: null, tags: [], score: null })) };
  }, [call, into, items]);
  return fetch as Call;
}

/** The large crop of the first of some regions; those of the next ones are fetched before they are looked at. */
function useLarge(call: Call, into: string, ids: string[]): LabelTile | null | undefined {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const cache = useRef(new Map<string, LabelTile | null>());
  useEffect(() => {
    const { current } = cache;
    const missing = ids.filter((id) => !current.has(id));
    if (!missing.length) return;
    missing.forEach((id) => current.set(id, null));
    call<{ tiles: LabelTile[] }>("crops", { into, ids: missing, side: LARGE }).then(({ tiles }) => {
      tiles.forEach((tile) => current.set(tile.id, tile));
      redraw();
    }, () => missing.forEach((id) => current.delete(id)));
  }, [call, into, ids.join()]);
  return cache.current.get(ids[0]!);
}

/** The classes on the number keys of a region: none before they are there, so that no key means another. */
function useChoices(call: Call, into: string, ids: string[]): (id: string) => string[] {
  const [choices, setChoices] = useState<Record<string, string[]>>({});
  const asked = useRef(new Set<string>());
  useEffect(() => {
    if (asked.current.has(ids[0]!)) return;
    const missing = ids.filter((id) => !asked.current.has(id));
    missing.forEach((id) => asked.current.add(id));
    call<{ choices: Record<string, string[]> }>("choices", { into, ids: missing }).then(
      ({ choices }) => setChoices((before) => ({ ...before, ...choices })),
      () => missing.forEach((id) => asked.current.delete(id)),
    );
  }, [call, into, ids.join()]);
  return (id) => choices[id] ?? NONE;
}

function isMeant(item: Item, only: string): boolean {
  if (only === "all") return true;
  if (only === "queue") return item.purpose === "training";
  return only === "none" ? item.taken_for === null : item.taken_for === only.slice(1);
}

function signOf({ taken_for }: Item, answer: Answer | undefined): Sign | undefined {
  if (answer === undefined) return undefined;
  if (answer === SKIPPED) return "skip";
  return answer === taken_for ? "right" : "wrong";
}

function captionOf({ id, taken_for }: Item, answers: Record<string, Answer | undefined>): string {
  const answer = answers[id];
  return spelled(answer === undefined || answer === SKIPPED || answer === WRONG ? taken_for : answer);
}
