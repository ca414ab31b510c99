import { Button, LinearProgress } from "@mui/material";
import React, { useEffect, useState } from "react";
import { Plain } from "../page/controls";
import { openPicture } from "../server/openPicture";
import { Call } from "../server/useServer";
import { LearnButton } from "./Review";
import { Bin, LabelTile, Report, spelled } from "./types";

const SIDE = 104;
const CROP = 208;

interface Props {
  call: Call;
  into: string;
  isBusy: boolean;
  onLabel: (retrain: boolean) => void;
  run: (work: () => Promise<unknown>) => Promise<unknown>;
  onSaid: (said: string) => void;
  onError: (error: unknown) => void;
}

/** What the last run did, in pictures, and what can be done next. */
export function ReportPage({ call, into, isBusy, onLabel, run, onSaid, onError }: Props) {
  const [report, setReport] = useState<Report | null>(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let isOver = false;
    call<Report>("report", { into }).then((report) => !isOver && setReport(report), onError);
    return () => { isOver = true; };
  }, [call, into, turn, onError]);
  const tiles = useTilesOf(call, into, report, onError);
  if (!report) return <LinearProgress />;
  if (!report.into) return <p>Nothing was labelled yet.</p>;

  const next = report.next_sample;
  const scored = (some: Report["random"]) => some?.map(({ id, label, score }) => (
    <Crop key={id} tile={tiles.get(id)} caption={spelled(label)} note={score.toFixed(2)} onOpen={open} />
  ));
  const open = ({ sample, label_id, field }: LabelTile) =>
    void (sample && run(() => openPicture(call, sample, label_id, field)));
  const undo = () => run(async () => {
    onSaid((await call<{ said: string }>("undo_run", { into, run: report.run })).said);
    setTurn(turn + 1);
  });
  return (
    <div style={{ flex: 1, minHeight: 0, overflowY: "auto", fontSize: 13 }}>
      <p style={{ fontSize: 15, margin: "4px 0" }}><b>{report.sentence}</b></p>
      <div style={{ display: "flex", gap: 6, flexWrap: "wrap" }}>
        {next > 0 && (
          <LearnButton answers={next} isOn={Boolean(report.has_failed)} disabled={isBusy} onClick={() => onLabel(true)} />
        )}
        <Plain disabled={isBusy} onClick={() => onLabel(false)}>Label again</Plain>
        {!next && (report.learnt > 0 || Boolean(report.reviewed)) && (
          <Plain disabled={isBusy} onClick={() => onLabel(true)}
            title="Learns from all reviews, those of the sample too, and draws a new one">Learn again</Plain>
        )}
        {report.run && (
          <>
            <Plain onClick={() => void run(() => call("show_written", { into, run: report.run }))}>Show in grid</Plain>
            <Plain onClick={() => void undo()}>{report.is_last ? "Undo this run" : "Undo the run before"}</Plain>
          </>
        )}
        {report.learnt > 0 && (
          <Plain onClick={() => void run(() => call("train", { into }))}>Train on these reviews ({report.learnt})</Plain>
        )}
      </div>
      <Part title="The least sure of what was written">{scored(report.least_sure)}</Part>
      <Part title="Written, drawn at random">{scored(report.random)}</Part>
      <Part title={`Taken for something else: ${report.wrong ?? 0} of ${report.reviewed ?? 0} reviewed`}>
        {report.confusions?.map(({ mistake, example, answer, truth, count }) => (
          <div key={mistake.id} style={{ display: "flex", gap: 2, padding: 3, border: "1px solid #8885", borderRadius: 4 }}>
            <Crop tile={tiles.get(mistake.id)} caption={spelled(truth)} onOpen={open}
              note={`taken for ${spelled(answer)}${count > 1 ? `, ${count} times` : ""}`} />
            {example && (
              <Crop tile={tiles.get(example.id)} caption={spelled(example.label)} onOpen={open}
                note={example.reviewed ? "a right one" : "the surest, not reviewed"} />
            )}
          </div>
        ))}
      </Part>
      {report.lines.map((line) => <p key={line} style={{ margin: "6px 0" }}>{line}</p>)}
      {report.rows && report.columns && <ClassTable columns={report.columns} rows={report.rows} />}
      {Boolean(report.bins?.length) && <Reliability bins={report.bins!} />}
      {report.notes && (
        <details>
          <summary>What these figures rest on</summary>
          {report.notes.map((note) => <p key={note} style={{ margin: "4px 0", opacity: 0.8 }}>{note}</p>)}
        </details>
      )}
    </div>
  );
}

/** The tiles of all regions of a report, by id. */
function useTilesOf(call: Call, into: string, report: Report | null, onError: (error: unknown) => void) {
  const [tiles, setTiles] = useState(new Map<string, LabelTile>());
  useEffect(() => {
    const pairs = report?.confusions?.flatMap(({ mistake, example }) => [mistake, example]) ?? [];
    const all = [...(report?.least_sure ?? []), ...(report?.random ?? []), ...pairs];
    const ids = [...new Set(all.flatMap((one) => (one ? [one.id] : [])))];
    if (!ids.length) return;
    call<{ tiles: LabelTile[] }>("crops", { into, ids, side: CROP }).then(
      ({ tiles }) => setTiles(new Map(tiles.map((tile) => [tile.id, tile]))), onError);
  }, [call, into, report, onError]);
  return tiles;
}

function Part({ title, children }: { title: string; children: React.ReactNode[] | undefined }) {
  if (!children?.length) return null;
  return (
    <section>
      <h4 style={{ margin: "10px 0 4px" }}>{title}</h4>
      <div style={{ display: "flex", flexWrap: "wrap", gap: 6 }}>{children}</div>
    </section>
  );
}

interface CropProps {
  tile: LabelTile | undefined;
  caption: string;
  note: string;
  onOpen: (tile: LabelTile) => void;
}

function Crop({ tile, caption, note, onOpen }: CropProps) {
  const line: React.CSSProperties = { overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" };
  return (
    <div style={{ width: SIDE, fontSize: 12 }}>
      <Button sx={{ p: 0, minWidth: 0 }} onClick={() => tile && onOpen(tile)} aria-label={`${caption}, ${note}`}>
        <img src={tile?.crop} alt="" style={{ display: "block", width: SIDE, height: SIDE, borderRadius: 4, background: "#8884" }} />
      </Button>
      <div style={line} title={caption}>{caption}</div>
      <div style={{ ...line, opacity: 0.7 }} title={note}>{note}</div>
    </div>
  );
}

function ClassTable({ columns, rows }: { columns: Record<string, string>; rows: Record<string, string | number>[] }) {
  const names = Object.keys(columns).filter((name) => rows.some((row) => row[name] !== ""));
  const cell: React.CSSProperties = { padding: "2px 10px 2px 0", overflowWrap: "anywhere", textAlign: "left" };
  return (
    <table style={{ borderCollapse: "collapse", margin: "12px 0", fontVariantNumeric: "tabular-nums" }}>
      <thead><tr>{names.map((name) => <th key={name} style={cell}>{columns[name]}</th>)}</tr></thead>
      <tbody>
        {rows.map((row, number) => (
          <tr key={number} style={{ borderTop: "1px solid #8883" }}>
            {names.map((name) => <td key={name} style={cell}>{row[name]}</td>)}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Predicted to the right, seen upwards, with the interval of each; on the line is as it should be. */
function Reliability({ bins }: { bins: Bin[] }) {
  const size = 180;
  const at = (share: number) => 10 + share * (size - 20);
  return (
    <figure style={{ margin: "8px 0", display: "flex", gap: 10, alignItems: "center" }}>
      <svg width={size} height={size} role="img" aria-label="Do the probabilities hold?">
        <rect x={10} y={10} width={size - 20} height={size - 20} fill="none" stroke="#8886" />
        <line x1={at(0)} y1={at(1)} x2={at(1)} y2={at(0)} stroke="gray" strokeDasharray="4" />
        {bins.map(({ predicted, right, count, interval: [low, high] }) => (
          <g key={predicted}>
            <line x1={at(predicted)} x2={at(predicted)} y1={at(1 - low)} y2={at(1 - high)} stroke="#4c8dd6" />
            <circle cx={at(predicted)} cy={at(1 - right)} r={4} fill="#4c8dd6"><title>{count} regions</title></circle>
          </g>
        ))}
      </svg>
      <figcaption>Do the probabilities hold? How sure the answers are, to the right; the share that is right, upwards.</figcaption>
    </figure>
  );
}
