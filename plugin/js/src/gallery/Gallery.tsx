import * as fos from "@fiftyone/state";
import { useVirtualizer } from "@tanstack/react-virtual";
import React, {
  KeyboardEvent, MouseEvent, PointerEvent, useCallback, useEffect, useLayoutEffect, useRef, useState,
} from "react";
import { createPortal } from "react-dom";
import { useRecoilValue } from "recoil";
import { Mark, Tile } from "../server/types";
import { CAPTION, GalleryTile, Sign } from "./Tile";

const GAP = 8;
const DRAG_FROM = 8;
const HOVER_MS = 450;
const LARGE = 400;

export interface GalleryProps {
  /** The ranks of the hits to show, best first. */
  ranks: ArrayLike<number>;
  /** What the hits are of: those of another question are shown from their top. */
  question?: string;
  tiles: Map<number, Tile | null>;
  request: (ranks: number[]) => void;
  /** How wide a tile is to be, about: they fill the row. */
  side: number;
  selected: Set<string>;
  marks: Record<string, Sign>;
  /** The words below a tile at a position, in place of its label. */
  captionAt?: (position: number) => string;
  /** What it shows, for a screen reader. */
  title?: string;
  /** The position that has the focus, where the page moves it. */
  current?: number;
  isMarkable: boolean;
  /** What the scores of the hits are. */
  measure?: string;
  onSelect: (ids: string[], isOn: boolean) => void;
  onSelectRanks: (ranks: number[]) => void;
  onClear: () => void;
  onMark: (id: string, mark: Mark) => void;
  onOpen: (tile: Tile) => void;
  onExplain: (tile: Tile) => void;
  enlarge: (tile: Tile) => Promise<string | undefined>;
}

interface Rectangle {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** All hits, of which only those in sight are drawn. Keys, clicks and drags are handled here. */
export function Gallery(props: GalleryProps) {
  const { ranks, tiles, request, selected, marks, isMarkable, measure = "cosine" } = props;
  const isCovered = useRecoilValue(fos.isModalActive);
  const scroller = useRef<HTMLDivElement>(null);
  const width = useWidth(scroller);
  const columns = Math.max(1, Math.round((width + GAP) / (props.side + GAP)));
  const side = Math.max(0, Math.floor((width + GAP) / columns) - GAP);
  const height = side + CAPTION + GAP;
  const rows = useVirtualizer({
    count: Math.ceil(ranks.length / columns),
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 2,
  });
  useLayoutEffect(() => rows.measure(), [height, rows]);
  useLayoutEffect(() => void scroller.current?.scrollTo(0, 0), [props.question]);

  const visible = rows.getVirtualItems().flatMap((row) =>
    Array.from({ length: columns }, (_, column) => row.index * columns + column).filter(
      (position) => position < ranks.length,
    ),
  );
  const wanted = visible.map((position) => ranks[position]!);
  useEffect(() => request(wanted), [request, wanted.join()]);

  const tileAt = (position: number) => tiles.get(ranks[position] ?? -1) ?? null;
  const goTo = useFocus(scroller, rows.scrollToIndex, columns, ranks.length);
  const { current } = props;
  useEffect(() => {
    if (current !== undefined && width) goTo(current);
  }, [current, width > 0]);
  const opened = useRef<number | null>(null);
  useEffect(() => {
    if (isCovered || opened.current === null) return;
    goTo(opened.current);
    opened.current = null;
  }, [isCovered, goTo]);
  const open = (position: number) => {
    const tile = tileAt(position);
    if (!tile) return;
    opened.current = position;
    (document.activeElement as HTMLElement | null)?.blur();
    props.onOpen(tile);
  };
  const anchor = useRef(0);
  const selectTo = (position: number) => {
    const [from, to] = [anchor.current, position].sort((one, other) => one - other) as [number, number];
    props.onSelectRanks(Array.from({ length: to - from + 1 }, (_, step) => ranks[from + step]!));
  };
  const toggle = (position: number) => {
    const tile = tileAt(position);
    anchor.current = position;
    if (tile) props.onSelect([tile.id], !selected.has(tile.id));
  };
  const mark = (position: number, one: Mark) => {
    const tile = tileAt(position);
    if (tile && isMarkable) props.onMark(tile.id, one);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const position = positionOf(event.target);
    if (event.ctrlKey || event.metaKey || event.altKey) {
      if (event.key !== "a" || event.altKey) return;
      props.onSelectRanks(Array.from(ranks));
    } else if (event.key === "Escape") props.onClear();
    else if (position === null) return;
    else if (event.key in STEPS) {
      const step = STEPS[event.key]!(columns);
      const next = Math.min(Math.max(position + step, 0), ranks.length - 1);
      goTo(next);
      if (event.shiftKey) selectTo(next);
    } else if (event.key === " ") event.shiftKey ? selectTo(position) : toggle(position);
    else if (event.key === "y" || event.key === "n") {
      mark(position, event.key === "y" ? "right" : "wrong");
      goTo(Math.min(position + 1, ranks.length - 1));
    } else if (event.key === "o") open(position);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const drag = useDrag(scroller, (box) => {
    const inside: number[] = [];
    for (let position = 0; position < ranks.length; position++) {
      const left = (position % columns) * (side + GAP);
      const top = Math.floor(position / columns) * height;
      if (left < box.right && left + side > box.left && top < box.bottom && top + side > box.top)
        inside.push(ranks[position]!);
    }
    props.onSelectRanks(inside);
  });

  const onClick = (event: MouseEvent) => {
    const position = positionOf(event.target);
    if (position === null || drag.wasDragged()) return;
    const button = (event.target as Element).closest("button");
    if (button?.dataset.mark) mark(position, button.dataset.mark as Mark);
    else if (button?.dataset.explain !== undefined) props.onExplain(tileAt(position)!);
    else if (event.shiftKey) selectTo(position);
    else if (event.detail === 0) toggle(position); // by a screen reader, or Enter
    else {
      goTo(position);
      toggle(position);
    }
  };
  const onDoubleClick = (event: MouseEvent) => {
    const position = positionOf(event.target);
    if (position !== null && !(event.target as Element).closest("[data-mark], [data-explain]")) open(position);
  };
  const hover = useHover(scroller, (position) => tileAt(position), props.enlarge);

  return (
    <div
      ref={scroller}
      className="alphaclip-gallery"
      role="group"
      aria-label={props.title ?? `${ranks.length.toLocaleString("en")} hits, best first`}
      tabIndex={-1}
      onKeyDown={onKeyDown}
      onClick={onClick}
      onDoubleClick={onDoubleClick}
      onMouseOver={hover.onMouseOver}
      onMouseLeave={hover.onMouseLeave}
      onWheel={hover.onMouseLeave}
      {...drag.events}
    >
      <div style={{ height: rows.getTotalSize(), position: "relative" }}>
        {visible.map((position) => {
          const tile = tiles.get(ranks[position]!);
          const left = (position % columns) * (side + GAP);
          const top = Math.floor(position / columns) * height;
          return (
            <div key={ranks[position]} style={{ position: "absolute", left, top }}>
              <GalleryTile
                position={position}
                side={side}
                tile={tile}
                label={(tile && props.captionAt?.(position)) ?? tile?.label ?? ""}
                isSelected={Boolean(tile && selected.has(tile.id))}
                mark={tile ? marks[tile.id] : undefined}
                isMarkable={isMarkable}
                measure={measure}
              />
            </div>
          );
        })}
        {drag.box && <div className="alphaclip-drag" style={asStyle(drag.box)} />}
      </div>
      {hover.large &&
        createPortal(<img className="alphaclip-large" src={hover.large.url} alt="" style={hover.large.style} />, document.body)}
    </div>
  );
}

export const STEPS: Record<string, (columns: number) => number> = {
  ArrowLeft: () => -1,
  ArrowRight: () => 1,
  ArrowUp: (columns) => -columns,
  ArrowDown: (columns) => columns,
  Home: () => -Infinity,
  End: () => Infinity,
};

export function positionOf(target: EventTarget): number | null {
  const button = (target as Element).closest(".alphaclip-tile")?.querySelector("[data-position]");
  return button ? Number((button as HTMLElement).dataset.position) : null;
}

export function useWidth(element: React.RefObject<HTMLElement>): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    if (!element.current) return;
    const observer = new ResizeObserver(() => setWidth(element.current?.clientWidth ?? 0));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element]);
  return width;
}

/** Puts the focus on a tile, which may have to be scrolled into sight and drawn first. */
export function useFocus(
  scroller: React.RefObject<HTMLElement>,
  scrollToRow: (row: number) => void,
  columns: number,
  count: number,
) {
  const next = useRef<number | null>(null);
  const focus = () => {
    if (next.current === null) return;
    const button = scroller.current?.querySelector<HTMLElement>(`[data-position="${next.current}"]`);
    if (!button) return;
    button.focus({ preventScroll: true });
    next.current = null;
  };
  useLayoutEffect(focus);
  return useCallback(
    (position: number) => {
      if (position < 0 || position >= count) return;
      next.current = position;
      scrollToRow(Math.floor(position / columns));
      focus();
    },
    [columns, count, scrollToRow],
  );
}

/** Draws a rectangle with the mouse; a press that hardly moves stays a click. */
function useDrag(scroller: React.RefObject<HTMLElement>, onDone: (box: Rectangle) => void) {
  const start = useRef<{ x: number; y: number } | null>(null);
  const dragged = useRef(false);
  const [box, setBox] = useState<Rectangle | null>(null);
  const at = (event: PointerEvent) => {
    const { left, top } = scroller.current!.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top + scroller.current!.scrollTop };
  };
  return {
    box,
    wasDragged: () => dragged.current,
    events: {
      onPointerDown: (event: PointerEvent) => {
        dragged.current = false;
        if (event.button === 0) start.current = at(event);
      },
      onPointerMove: (event: PointerEvent) => {
        if (!start.current || !(event.buttons & 1)) return;
        const { x, y } = at(event);
        const from = start.current;
        if (!box && Math.hypot(x - from.x, y - from.y) < DRAG_FROM) return;
        dragged.current = true;
        scroller.current!.setPointerCapture(event.pointerId);
        setBox({
          left: Math.min(x, from.x), right: Math.max(x, from.x),
          top: Math.min(y, from.y), bottom: Math.max(y, from.y),
        });
      },
      onPointerUp: () => {
        start.current = null;
        if (box) onDone(box);
        setBox(null);
      },
    },
  };
}

/** Shows a crop large once the pointer rests on its tile. */
function useHover(
  scroller: React.RefObject<HTMLElement>,
  tileAt: (position: number) => Tile | null,
  enlarge: (tile: Tile) => Promise<string | undefined>,
) {
  const [large, setLarge] = useState<{ url: string; style: React.CSSProperties } | null>(null);
  const timer = useRef(0);
  const over = useRef<number | null>(null);
  const leave = () => {
    clearTimeout(timer.current);
    over.current = null;
    setLarge(null);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  return {
    large,
    onMouseLeave: leave,
    onMouseOver: (event: MouseEvent) => {
      const position = positionOf(event.target);
      if (position === over.current) return;
      leave();
      over.current = position;
      const tile = position === null ? null : tileAt(position);
      if (!tile) return;
      const { top } = (event.target as Element).getBoundingClientRect();
      timer.current = window.setTimeout(async () => {
        const url = await enlarge(tile).catch(() => undefined);
        if (!url || over.current !== position) return;
        // Beside the gallery where there is room, so that it covers no other tile
        const { left, right } = scroller.current!.getBoundingClientRect();
        const x = left > LARGE + 12 ? left - LARGE - 12 : Math.min(right + 12, innerWidth - LARGE - 8);
        setLarge({ url, style: { left: x, top: Math.max(8, Math.min(top, innerHeight - LARGE - 8)) } });
      }, HOVER_MS);
    },
  };
}

function asStyle({ left, top, right, bottom }: Rectangle): React.CSSProperties {
  return { left, top, width: right - left, height: bottom - top };
}
