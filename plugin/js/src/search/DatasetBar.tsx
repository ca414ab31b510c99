import { Alert, Button, LinearProgress } from "@mui/material";
import React, { useEffect, useState } from "react";
import { About, Job, JobOutcome } from "../server/types";
import { Call } from "../server/useServer";
import { Plain } from "./ActionBar";

const FRESHNESS_MS = 15_000;

interface Props {
  call: Call;
  about: About;
  onError: (error: Error) => void;
  onChange: () => void;
  children?: React.ReactNode;
}

/** The jobs that run, and the indexes with what keeps them up to date. */
export function DatasetBar({ call, about, onError, onChange, children }: Props) {
  const [isOpen, setOpen] = useState(false);
  const changes = useFreshness(call, about);
  const send = (event: string, params: object) => call(event, params).then(onChange, onError);
  return (
    <div style={{ fontSize: 13 }}>
      <Jobs jobs={about.jobs} onStop={(id) => send("stop", { id })} />
      <Unfinished call={call} about={about} onError={onError} onChange={onChange} />
      <div style={{ display: "flex", gap: 12, alignItems: "center", justifyContent: "space-between" }}>
        <div style={{ display: "flex", flexWrap: "wrap", gap: 6 }}>
          <Plain isOn={isOpen} onClick={() => setOpen(!isOpen)}>Indexes</Plain>
          {Object.entries(changes).map(([key, said]) => (
            <Plain key={key} isOn onClick={() => send("update", { key })}>{key}: {said}: update</Plain>
          ))}
        </div>
        {children}
      </div>
      {isOpen && about.indexes.map(({ key, said }) => (
        <div key={key} style={{ display: "flex", gap: 6, alignItems: "center", paddingTop: 4 }}>
          <span>{said}</span>
          <Plain onClick={() => send("check", { key })}>Check</Plain>
          <Plain onClick={() => send("update", { key })}>Update</Plain>
        </div>
      ))}
    </div>
  );
}

/** What has changed since the indexes were made, in words by key; those that a job writes say nothing. */
function useFreshness(call: Call, about: About): Record<string, string> {
  const [changes, setChanges] = useState<Record<string, string>>({});
  useEffect(() => {
    const look = () => {
      if (document.hidden) return;
      call<{ changes: Record<string, string> }>("freshness").then((now) => setChanges(now.changes), () => {});
    };
    look();
    const timer = setInterval(look, FRESHNESS_MS);
    return () => clearInterval(timer);
  }, [call, about.indexes]);
  const busy = about.jobs.map(({ key }) => key);
  return Object.fromEntries(Object.entries(changes).filter(([key]) => !busy.includes(key)));
}

/** What a dataset has before anything in it can be searched. */
type First = Pick<About, "fields" | "jobs" | "resumable">;

function Unfinished({ call, about, onError, onChange }: Omit<Props, "about"> & { about: Pick<About, "resumable"> }) {
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
export function FirstSteps({ call, about, onError, onChange }: Omit<Props, "about"> & { about: First }) {
  const hasRegions = about.fields.length > 0;
  const begin = (event: string) => () => call(event).catch(onError);
  return (
    <div style={{ padding: "24px 8px" }}>
      <h3>{hasRegions ? "Embed regions first" : "Segment regions first"}</h3>
      <p>
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
