import React from "react";
import { CAPTION } from "../gallery/Tile";
import { Kind, OddDetail, OddRegion, Tile } from "../server/types";
import { Decision } from "./useFinding";

const CURRENT = "#2f9bff";
const DECIDED = "#2e9e4f";

interface Props {
  position: number;
  kind: Kind;
  side: number;
  odd: OddRegion;
  detail: OddDetail | undefined;
  tiles: Map<string, Tile>;
  decision: Decision | undefined;
  isCurrent: boolean;
}

/** An odd region beside those that it is to be compared with. */
export function OddTile({ position, kind, side, odd, detail, tiles, decision, isCurrent }: Props) {
  const tile = tiles.get(odd.id);
  const label = tile ? tile.label || "no label" : detail ? "gone" : "…";
  const outcome = decision && (decision.label ?? decision.tag ?? "kept");
  const chance = odd.chance === null ? "" : `, ${percent(odd.chance)}`;
  const rather = { "label errors": `rather ${odd.note}${chance}`, "missing labels": `probably ${odd.note}` }[kind as string] ?? "";
  const isOverlap = kind === "badly drawn" || kind === "doubled";
  const score = kind === "label errors" ? `${percent(odd.score)} ${label}`
    : kind === "missing labels" ? `${percent(odd.score)} an object` : `${isOverlap ? "IoU" : "cosine"} ${odd.score.toFixed(3)}`;
  const beside: [string, string[]][] = {
    "label errors": [[`labelled ${label}`, detail?.beside[0] ?? []], [`labelled ${odd.note}`, detail?.beside[1] ?? []]],
    "missing labels": [[`labelled ${odd.note}`, detail?.beside[1] ?? []]],
    "badly drawn": [["segmented", detail?.beside[0] ?? []]],
    doubled: [["lies on this", detail?.beside[0] ?? []]],
    duplicates: [["repeats this", detail?.beside[0] ?? []]],
    outliers: [[`labelled ${label}`, detail?.beside[0] ?? []]],
  }[kind] as [string, string[]][];
  const name = [`${position + 1}. ${tile ? label : "loading"}`, rather, score, outcome && `decided: ${outcome}`];
  return (
    <div className="alphaclip-tile" data-id={odd.id}
      style={{ padding: 4, borderRadius: 6, opacity: decision && !isCurrent ? 0.45 : 1,
        boxShadow: `inset 0 0 0 2px ${isCurrent ? CURRENT : "#8883"}` }}>
      <div style={{ display: "flex" }}>
        <Block caption={label} side={side}>
          <button type="button" data-position={position} aria-label={name.filter(Boolean).join(", ")}
            aria-pressed={Boolean(decision)} title={score}
            style={{ ...FILL, border: 0, padding: 0, cursor: "pointer", background: "#8884", color: "inherit" }}>
            {tile?.crop && <img src={tile.crop} alt="" draggable={false} />}
            {outcome && <b style={{ background: DECIDED, left: 3, top: 3 }}>{outcome}</b>}
          </button>
        </Block>
        {beside.map(([caption, ids], number) => (
          <Block key={number} caption={caption} side={side}>
            {ids.map((id) => (
              <img key={id} src={tiles.get(id)?.crop} alt="" draggable={false}
                style={{ width: ids.length > 1 ? "50%" : "100%", height: ids.length > 1 ? "50%" : "100%" }} />
            ))}
            {detail && !ids.length && <span style={{ fontSize: 12, opacity: 0.7 }}>no other</span>}
          </Block>
        ))}
      </div>
      <small style={{ height: CAPTION, maxWidth: side * (beside.length + 1) }}>
        {rather && <strong>{rather} </strong>}
        <i>{score}</i>
        {tile?.tags.map((tag) => <em key={tag}>{tag}</em>)}
      </small>
    </div>
  );
}

const FILL: React.CSSProperties = { width: "100%", height: "100%" };

function Block({ caption, side, children }: { caption: string; side: number; children: React.ReactNode }) {
  return (
    <div style={{ width: side, padding: "0 2px", boxSizing: "border-box" }}>
      <div style={{ height: side - 4, display: "flex", flexWrap: "wrap", position: "relative", alignContent: "flex-start" }}>{children}</div>
      <small style={{ height: CAPTION }}>{caption}</small>
    </div>
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}
