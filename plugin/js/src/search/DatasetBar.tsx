import React, { useEffect, useState } from "react";
import { Plain } from "../page/controls";
import { Jobs, Unfinished } from "../page/Jobs";
import { About } from "../server/types";
import { Call } from "../server/useServer";

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
