import { Button } from "@mui/material";
import React from "react";
import { Found, measureOf } from "./useSearch";

const HEIGHT = 40;

interface Props {
  found: Found;
  threshold: number;
  onThreshold: (threshold: number) => void;
}

/** How the scores are spread, with the threshold as a line that can be moved over them. */
export function Scores({ found, threshold, onThreshold }: Props) {
  const { low, high, bars, suggestion } = found;
  const steps = found.above.length - 1;
  const step = stepOf(found, threshold);
  const measure = measureOf(found.question);
  const most = Math.log1p(Math.max(...bars, 1));
  const what = found.question.mode === "pictures" ? "pictures" : "regions";
  const count = countAbove(found, threshold);
  return (
    <div style={{ display: "flex", gap: 12, alignItems: "flex-end" }}>
      <div style={{ position: "relative", flex: "1 1 100px", minWidth: 80, maxWidth: 320 }}>
        <svg viewBox={`0 0 ${bars.length} 1`} preserveAspectRatio="none" aria-hidden
          style={{ display: "block", width: "100%", height: HEIGHT }}>
          {bars.map((bar, number) => {
            const tall = Math.log1p(bar) / most;
            const isAbove = (number + 0.5) / bars.length >= step / steps;
            return <rect key={number} x={number} y={1 - tall} width={0.9} height={tall}
              fill={isAbove ? "#ff6d04" : "#5b7fa6"} />;
          })}
        </svg>
        <input type="range" aria-label="Threshold" min={0} max={steps} value={step}
          aria-valuetext={`${measure} ${threshold.toFixed(3)}, ${count} ${what}`}
          onChange={(event) => onThreshold(low + ((high - low) * Number(event.target.value)) / steps)}
          onKeyDown={(event) => event.stopPropagation()}
          style={{ display: "block", width: "100%", margin: 0, accentColor: "#ff6d04" }} />
      </div>
      <div style={{ flex: "4 1 200px", fontSize: 14 }}>
        <b role="status" title={`${measure} of at least ${threshold.toFixed(3)}`}>
          {count.toLocaleString("en")} of {found.total.toLocaleString("en")} {found.question.concept ? "waiting" : found.question.prompt ? "asked about" : "match"}
        </b>
        {found.off_by > 0 && count > found.cosines.length && (
          <span title="Counted in a sample: so much it may be off, in 19 of 20 searches"> ± {found.off_by.toLocaleString("en")}</span>
        )}
        {suggestion?.min_score != null && Math.abs(threshold - suggestion.min_score) > (high - low) / steps && (
          <Button size="small" sx={{ p: 0, ml: 1, textTransform: "none", textDecoration: "underline", color: "text.primary", verticalAlign: "baseline" }}
            onClick={() => onThreshold(suggestion.min_score!)}>
            Only the {countAbove(found, suggestion.min_score).toLocaleString("en")} that stand out
          </Button>
        )}
        {suggestion && <div style={{ opacity: 0.75, fontSize: 12 }}>{suggestion.said}</div>}
      </div>
    </div>
  );
}

/** The ranks of the listed hits that reach a threshold. */
export function ranksAbove(found: Found, threshold: number): number[] {
  const ranks: number[] = [];
  found.cosines.forEach((cosine, rank) => {
    if (cosine >= threshold) ranks.push(rank);
  });
  return ranks;
}

/** How many reach a threshold: of the listed hits exactly, of more than these by the steps. */
export function countAbove(found: Found, threshold: number): number {
  if (found.cosines.length === found.total) return ranksAbove(found, threshold).length;
  return found.above[stepOf(found, threshold)] ?? 0;
}

function stepOf({ low, high, above }: Found, threshold: number): number {
  const steps = above.length - 1;
  const step = high > low ? Math.round(((threshold - low) / (high - low)) * steps) : 0;
  return Math.min(Math.max(step, 0), steps);
}
