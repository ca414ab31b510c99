import * as fos from "@fiftyone/state";
import { useVirtualizer } from "@tanstack/react-virtual";
import React, { KeyboardEvent, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useRecoilValue } from "recoil";
import { positionOf, STEPS, useFocus, useWidth } from "../gallery/Gallery";
import { CAPTION } from "../gallery/Tile";
import { Complete, Plain } from "../page/controls";
import { Finding, Kind, Tile } from "../server/types";
import { Call } from "../server/useServer";
import { OddTile } from "./OddTile";
import { Decision, FindingState, nextOpen, useDetails } from "./useFinding";

const GAP = 10;
const PADDING = 8;
const AHEAD = 12;

/** What is accepted of a kind: a tag; null is the class that is suggested. */
const TAGS: Record<Kind, string | null> = {
  "label errors": null, "missing labels": null, "badly drawn": "badly drawn", doubled: "doubled",
  duplicates: "duplicate", outliers: "outlier",
};

/** One line of a fixed height, so that the gallery stays where it is from one region to the next. */
const LINE: React.CSSProperties = { display: "flex", gap: 6, alignItems: "center", height: 28, flex: "none", overflowX: "auto", scrollbarWidth: "none" };

interface Props {
  call: Call;
  state: FindingState;
  /** Of a crop, roughly: the tiles fill the lines. */
  size: number;
  /** Of the pictures that are fetched. */
  pixels: number;
  onOpen: (tile: Tile) => void;
  onClose: () => void;
  onError: (error: unknown) => void;
}

/** The gallery of a finding: a key decides about a region, and leads to the next one. */
export function FindingPage({ call, state, size, pixels, onOpen, onClose, onError }: Props) {
  const { rows, kind, entry, said, decided: before } = state.finding!;
  // Of a tile, each as wide as the crop
  const blocks = kind === "label errors" ? 3 : 2;
  const details = useDetails(call, state.finding!, pixels, onError);
  const classes = useClasses(call, state.finding!);
  const isCovered = useRecoilValue(fos.isModalActive);
  const [current, setCurrent] = useState(0);
  const [isTyping, setTyping] = useState(false);
  const [undone, setUndone] = useState<string | null>(null);
  const decided = useMemo(() => new Map(state.decisions.map((one) => [one.id, one])), [state.decisions]);

  const scroller = useRef<HTMLDivElement>(null);
  const whole = useWidth(scroller) + GAP;
  const columns = Math.max(1, Math.round(whole / (size * blocks + PADDING + GAP)));
  const width = Math.floor(whole / columns) - GAP;
  const side = Math.max(0, Math.floor((width - PADDING) / blocks));
  const height = side + 2 * CAPTION + PADDING + GAP;
  const lines = useVirtualizer({
    count: Math.ceil(rows.length / columns),
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 1,
  });
  useLayoutEffect(() => lines.measure(), [height, lines]);
  const visible = lines.getVirtualItems().flatMap(({ index }) =>
    Array.from({ length: columns }, (_, column) => index * columns + column).filter((one) => one < rows.length),
  );
  const focus = useFocus(scroller, lines.scrollToIndex, columns, rows.length);
  const go = (position: number) => {
    setCurrent(position);
    focus(position);
  };
  useEffect(() => {
    setCurrent(0);
    focus(0);
  }, [entry]);
  useEffect(() => {
    if (!isCovered) focus(current);
  }, [isCovered]);

  const needed = [...visible, ...Array.from({ length: AHEAD }, (_, step) => current + step)];
  const regions = [...new Set(needed)].flatMap((position) => rows[position] ?? []);
  useEffect(() => details.request(regions), [details.request, regions.map(({ id }) => id).join()]);

  const odd = rows[current];
  const tile = odd && details.tiles.get(odd.id);
  const tag = TAGS[kind];
  const likely = (odd && details.rows.get(odd.id)?.likely.filter((label) => tag || label !== odd.note)) ?? [];
  const decide = (choice: Omit<Decision, "id">) => {
    if (!odd) return;
    state.decide({ id: odd.id, ...choice });
    go(nextOpen(rows, new Set([...decided.keys(), odd.id]), current));
  };
  const accept = () => odd && decide(tag ? { tag } : { label: odd.note });
  const undo = () => void state.undo().then(setUndone).catch(onError);
  useEffect(() => {
    const position = rows.findIndex(({ id }) => id === undone);
    if (position < 0) return;
    go(position);
    setUndone(null);
  }, [rows, undone]);
  const stopTyping = () => {
    setTyping(false);
    focus(current);
  };
  const open = (position: number) => {
    const tile = details.tiles.get(rows[position]?.id ?? "");
    if (!tile) return;
    (document.activeElement as HTMLElement | null)?.blur();
    onOpen(tile);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if ((event.target as Element).matches("input")) {
      if (event.key === "Escape") stopTyping();
      return;
    }
    const another = likely[Number(event.key) - 1];
    if (event.key in STEPS) {
      const next = current + STEPS[event.key]!(columns);
      go(Math.min(Math.max(next, 0), rows.length - 1));
    } else if (event.key === "o") open(current);
    else if (event.repeat) return;
    else if (event.key === "y") accept();
    else if (event.key === "n") decide({});
    else if (event.key === "u") undo();
    else if (event.key === "c") setTyping(true);
    else if (another) decide({ label: another });
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div onKeyDown={onKeyDown} style={{ flex: 1, minHeight: 0, display: "flex", flexDirection: "column", gap: 6 }}>
      <div style={{ display: "flex", gap: 8, alignItems: "center", fontSize: 14 }}>
        <b role="status" style={{ flex: 1 }}>{said}: {(rows.length - decided.size).toLocaleString("en")} left to decide</b>
        <Plain onClick={onClose}>Close</Plain>
      </div>
      {odd && (
        <>
          <div style={LINE}>
            <Plain isOn onClick={accept}>y: {tag ? `tag “${tag}”` : odd.note}</Plain>
            <Plain onClick={() => decide({})}>
              n: {kind === "missing labels" ? "no label" : `keep ${tile?.label ? `“${tile.label}”` : "it"}`}
            </Plain>
            <Plain onClick={() => setTyping(!isTyping)}>c: another class</Plain>
            {decided.size + before > 0 && <Plain onClick={undo}>u: undo</Plain>}
          </div>
          <div style={LINE}>
            {likely.map((label, number) => (
              <Plain key={label} onClick={() => decide({ label })}>{number + 1}: {label}</Plain>
            ))}
          </div>
          {isTyping && (
            <AnotherClass classes={classes} onChoose={(label) => { setTyping(false); decide({ label }); }} />
          )}
        </>
      )}
      <div ref={scroller} className="alphaclip-gallery" role="group" aria-label={said} tabIndex={-1}
        onClick={(event) => {
          const position = positionOf(event.target);
          if (position !== null) go(position);
        }}
        onDoubleClick={(event) => {
          const position = positionOf(event.target);
          if (position !== null) open(position);
        }}>
        <div style={{ height: lines.getTotalSize(), position: "relative" }}>
          {visible.map((position) => {
            const left = (position % columns) * (width + GAP);
            const top = Math.floor(position / columns) * height;
            const { id } = rows[position]!;
            return (
              <div key={id} style={{ position: "absolute", left, top }} onFocus={() => setCurrent(position)}>
                <OddTile position={position} kind={kind} side={side} odd={rows[position]!} tiles={details.tiles}
                  detail={details.rows.get(id)} decision={decided.get(id)} isCurrent={position === current} />
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

/** A class by its first letters, where there are more than digits. */
function AnotherClass({ classes, onChoose }: { classes: string[]; onChoose: (label: string) => void }) {
  const [value, setValue] = useState("");
  return (
    <div style={{ paddingTop: 6 }}>
      <Complete label="Another class" value={value} options={classes} onChange={setValue} onChoose={onChoose} isFirst />
    </div>
  );
}

/** The classes that a region may get: those of the dataset's labels, and those suggested. */
function useClasses(call: Call, { attribute, kind, rows }: Finding): string[] {
  const [known, setKnown] = useState<string[]>([]);
  useEffect(() => {
    setKnown([]);
    if (attribute === "label") call<{ classes: string[] }>("names").then(({ classes }) => setKnown(classes), () => undefined);
  }, [call, attribute]);
  const suggested = TAGS[kind] === null ? rows : [];
  return useMemo(() => [...new Set([...known, ...suggested.map(({ note }) => note)])].sort(), [known, rows]);
}
