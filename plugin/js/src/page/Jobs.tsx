import { Alert, Button, LinearProgress } from "@mui/material";
import React from "react";
import { Dataset, Job, JobOutcome } from "../server/types";
import { Call } from "../server/useServer";
import { Plain } from "./controls";

interface Props {
  call: Call;
  about: Dataset;
  onError: (error: Error) => void;
  onChange: () => void;
}

/** What was begun, with a way to go on with it. */
export function Unfinished({ call, about, onError, onChange }: Props) {
  const send = (event: string, key: string) => call(event, { key }).then(onChange, onError);
  return (
    <>
      {about.resumable.map(({ key, title, done, total }) => (
        <div key={key} style={{ display: "flex", gap: 6, alignItems: "center", paddingBottom: 4 }}>
          <span>
            {title} was not finished{total ? `: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : ""}
          </span>
          <Plain isOn onClick={() => send("resume", key)}>Resume</Plain>
          <Plain onClick={() => send("dismiss", key)}>Leave it</Plain>
        </div>
      ))}
    </>
  );
}

export function Jobs({ jobs, onStop }: { jobs: Job[]; onStop: (id: string) => void }) {
  return (
    <>
      {jobs.map((job) => (
        <div key={job.id} style={{ display: "flex", gap: 8, alignItems: "center", paddingBottom: 4 }}>
          <span>{job.title}: {job.label}{job.seconds_left != null && `, ${duration(job.seconds_left)} left`}</span>
          <LinearProgress variant="determinate" value={100 * job.progress} sx={{ flex: 1, minWidth: 40 }}
            aria-label={job.title} />
          <Button size="small" disabled={job.stopping} onClick={() => onStop(job.id)}>
            {job.stopping ? "Stopping …" : "Stop"}
          </Button>
        </div>
      ))}
    </>
  );
}

export function Outcome({ outcome, onClose }: { outcome: JobOutcome; onClose: () => void }) {
  return (
    <Alert severity={outcome.severity} onClose={onClose} sx={{ py: 0 }}>
      <b>{outcome.title}</b> {outcome.text}
    </Alert>
  );
}

/** Leads from an empty dataset to one that can be searched. */
export function FirstSteps({ call, about, onError, onChange }: Props) {
  const hasRegions = about.fields.length > 0;
  const begin = (event: string) => () => call(event).catch(onError);
  return (
    <div style={{ padding: "24px 8px" }}>
      <h3 style={{ fontWeight: 600 }}>{hasRegions ? "Embed regions first" : "Segment regions first"}</h3>
      <p style={{ margin: "4px 0 12px" }}>
        {hasRegions
          ? "No regions of this dataset are embedded yet, so there is nothing to search."
          : "No boxes, masks or polygons are in this dataset yet. “Segment regions” finds what is in its " +
            "pictures; “Embed regions” then makes it searchable."}
      </p>
      <Jobs jobs={about.jobs} onStop={(id) => void call("stop", { id }).catch(onError)} />
      <Unfinished call={call} about={about} onError={onError} onChange={onChange} />
      <div style={{ display: "flex", gap: 8 }}>
        {hasRegions && <Button variant="contained" onClick={begin("embed")}>Embed regions</Button>}
        <Button variant={hasRegions ? "outlined" : "contained"} onClick={begin("segment")}>Segment regions</Button>
      </div>
    </div>
  );
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
