import React, { memo } from "react";
import { Mark, Tile } from "../server/types";

export const CAPTION = 20;
const FRAMES = { right: "#2e9e4f", wrong: "#d1373f", skip: "#8a8a8a" };
const SELECTED = "#ff6d04";
const SIGNS = { right: "✓", wrong: "✗", skip: "?" };

export type Sign = Mark | "skip";

interface Props {
  position: number;
  side: number;
  tile: Tile | null | undefined;
  label: string;
  isSelected: boolean;
  mark: Sign | undefined;
  isMarkable: boolean;
  /** What its score is. */
  measure: string;
}

/** A crop with its caption; what is done with it is up to the gallery, which reads the attributes. */
export const GalleryTile = memo(({ position, side, tile, label, isSelected, mark, isMarkable, measure }: Props) => {
  const name = tile ? label || "no label" : "loading";
  const score = tile?.score?.toFixed(3) ?? "";
  const said = [`${position + 1}. ${name}`, score && `${measure} ${score}`, mark, ...(tile?.tags ?? []), tile?.caption];
  const color = mark ? FRAMES[mark] : "transparent";
  return (
    <div className="alphaclip-tile" style={{ width: side }} data-id={tile?.id}>
      <button
        type="button"
        data-position={position}
        aria-label={said.filter(Boolean).join(", ")}
        aria-pressed={isSelected}
        title={score && `${measure} ${score}`}
        style={{ width: side, height: side, borderColor: isSelected ? SELECTED : color }}
      >
        {tile?.crop && <img src={tile.crop} alt="" draggable={false} />}
        {tile === null && <span>gone</span>}
        {mark && <b style={{ background: color }}>{SIGNS[mark]}</b>}
      </button>
      {tile && isMarkable && (
        <span className="alphaclip-marks">
          {(["right", "wrong"] as const).map((one) => (
            <button type="button" key={one} data-mark={one} tabIndex={-1} aria-label={`${one}: ${name}`}>
              {SIGNS[one]}
            </button>
          ))}
          <button type="button" data-explain tabIndex={-1} aria-label={`where the encoder looked: ${name}`}>
            ?
          </button>
        </span>
      )}
      <small style={{ height: CAPTION }} title={tile?.caption ?? undefined}>
        {score && <i>{score} </i>}{label}
        {tile?.tags.map((tag) => <em key={tag}>{tag}</em>)}
        {tile?.caption && <i> {tile.caption}</i>}
      </small>
    </div>
  );
});
