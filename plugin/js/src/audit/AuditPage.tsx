import React, { KeyboardEvent, useEffect, useRef, useState } from "react";
import { Plain } from "../page/controls";
import { Audit, Point } from "../server/types";
import { Call } from "../server/useServer";
import { AuditState, PERSON } from "./useAudit";

const NEAR = 0.02;
/** Of a picture, in hundredths of the window. */
const HIGH = 60;
const MARK: React.CSSProperties = {
  position: "absolute", width: 18, height: 18, margin: "-9px 0 0 -9px", borderRadius: 9, border: "3px solid #ff6d04",
  background: "#fff8", pointerEvents: "none", boxSizing: "border-box",
};

interface Props {
  call: Call;
  state: AuditState;
  audit: Audit;
  /** Whether a detector is looking at the pictures. */
  isAsking: boolean;
  onAsk: () => void;
  onClose: () => void;
  onError: (error: unknown) => void;
}

/** Pictures drawn at random, one after the other: a click marks an object that has no region. */
export function AuditPage({ call, state, audit, isAsking, onAsk, onClose, onError }: Props) {
  const { key, concept, pictures, said, detector } = audit;
  const [current, setCurrent] = useState(() => Math.max(0, pictures.findIndex(({ points }) => !points)));
  const [ratio, setRatio] = useState(1);
  const page = useRef<HTMLDivElement>(null);
  const { id, points, judge } = pictures[current]!;
  const drawn = usePicture(call, audit, current, onError);
  const go = (position: number) => setCurrent(Math.min(Math.max(position, 0), pictures.length - 1));
  const next = () => {
    if (!points) state.mark(id, []);
    go(current + 1);
  };
  const click = (event: React.MouseEvent<HTMLElement>) => {
    const { left, top, width, height } = event.currentTarget.getBoundingClientRect();
    const at: Point = [(event.clientX - left) / width, (event.clientY - top) / height];
    const others = (points ?? []).filter(([x, y]) => Math.hypot(x - at[0], y - at[1]) > NEAR);
    state.mark(id, others.length < (points ?? []).length ? others : [...others, at]);
    page.current?.focus();
  };
  useEffect(() => page.current?.focus(), [key, concept]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "y" || event.key === " " || event.key === "Enter") next();
    else if (event.key === "ArrowRight") go(current + 1);
    else if (event.key === "ArrowLeft") go(current - 1);
    else if (event.key === "u") points ? state.mark(id, null) : go(current - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const looked = pictures.filter((one) => one.points).length;
  return (
    <div ref={page} tabIndex={-1} role="group" aria-label={`Audit of ${concept}`} onKeyDown={onKeyDown}
      style={{ flex: 1, minHeight: 0, display: "flex", flexDirection: "column", gap: 6, outline: "none" }}>
      <div style={{ display: "flex", gap: 8, alignItems: "center", fontSize: 14 }}>
        <b role="status" style={{ flex: 1 }}>{said}</b>
        {looked < pictures.length && (
          <Plain onClick={onAsk} disabled={isAsking} title="Has it mark the pictures that nobody has looked at yet">
            {isAsking ? "Asking …" : `Ask ${detector?.split("/").at(-1) ?? "a detector"}`}
          </Plain>
        )}
        <Plain onClick={onClose}>Close</Plain>
      </div>
      <div style={{ display: "flex", gap: 6, alignItems: "center", fontSize: 13, flexWrap: "wrap" }}>
        <span>
          Picture {current + 1} of {pictures.length}, {looked} looked at. Click each “{concept}” that is not outlined;
          a click on a mark takes it away.
        </span>
        {judge && judge !== PERSON && <span>Marked by {judge}; a click corrects it.</span>}
        <Plain isOn onClick={next}>y: {points?.length ? `${points.length} marked, next` : "none, next"}</Plain>
        {points && <Plain onClick={() => state.mark(id, null)}>u: not looked at</Plain>}
      </div>
      <div style={{ flex: 1, minHeight: 0, display: "flex", justifyContent: "center" }}>
        {drawn && (
          <div style={{ position: "relative", alignSelf: "flex-start", cursor: "crosshair", width: `min(100%, ${HIGH * ratio}vh)` }}
            onClick={click}>
            <img src={drawn} alt={`Picture ${current + 1}`} draggable={false} style={{ display: "block", width: "100%" }}
              onLoad={({ currentTarget: { naturalWidth, naturalHeight } }) => setRatio(naturalWidth / naturalHeight)} />
            {(points ?? []).map(([x, y], number) => (
              <span key={number} data-mark style={{ ...MARK, left: `${100 * x}%`, top: `${100 * y}%` }} />
            ))}
          </div>
        )}
      </div>
    </div>
  );
}

/** The picture at a position, and the next one ahead. */
function usePicture(call: Call, { key, concept, pictures }: Audit, current: number, onError: (error: unknown) => void) {
  const [cache, setCache] = useState<Record<string, string>>({});
  const asked = useRef(new Set<string>());
  useEffect(() => {
    for (const { id } of pictures.slice(current, current + 2)) {
      if (asked.current.has(id)) continue;
      asked.current.add(id);
      call<{ picture: string }>("audit_picture", { key, concept, id }).then(
        ({ picture }) => setCache((before) => ({ ...before, [id]: picture })),
        (error) => {
          asked.current.delete(id);
          onError(error);
        },
      );
    }
  }, [call, key, concept, pictures, current, onError]);
  return cache[pictures[current]!.id];
}
