import * as fos from "@fiftyone/state";
import { Alert, CircularProgress, MenuItem, Select } from "@mui/material";
import React, { useCallback, useEffect, useState } from "react";
import { useRecoilValue } from "recoil";
import { Plain } from "../search/ActionBar";
import { FirstSteps, Jobs } from "../search/DatasetBar";
import { Notices, Page, useAbout } from "../search/SearchPanel";
import { useStored } from "../search/useStored";
import { Call, Events, useServer } from "../server/useServer";
import { asClasses, Classes } from "./Classes";
import { ReportPage } from "./Report";
import { ReviewPage } from "./Review";
import { Begun, EMPTY_LABEL_FORM, LabelAbout, LabelForm, labelFormName, Step } from "./types";

const STEPS: Record<Step, string> = { classes: "Classes", review: "Review", report: "Report" };
const BUSY_MS = 700;

/** The page of the panel "Label regions". */
export function LabelPanel({ schema }: { schema: { view: Events } }) {
  const call = useServer(schema.view);
  const name = useRecoilValue(fos.datasetName);
  const [about, setAbout] = useState<LabelAbout | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const load = useAbout(call, name, setAbout, setError);
  if (error) return <Alert severity="error">{error.message}</Alert>;
  if (!about) return <CircularProgress size={24} sx={{ m: 2 }} />;
  if (!about.dataset) return <p>Open a dataset first.</p>;
  return <DatasetPage key={about.dataset} call={call} about={about} reload={load} />;
}

interface Props {
  call: Call;
  about: LabelAbout;
  reload: () => Promise<void>;
}

function DatasetPage({ call, about, reload }: Props) {
  const [form, setForm] = useStored<LabelForm>(labelFormName(about.dataset!), EMPTY_LABEL_FORM);
  const [error, setError] = useState<Error | null>(null);
  const [said, setSaid] = useState("");
  const [seen, setSeen] = useStored("seen", { at: 0 });
  const fail = useCallback((error: unknown) => setError(error as Error), []);
  const set = (change: Partial<LabelForm>) => setForm((before) => ({ ...before, ...change }));
  const run = async (work: () => Promise<unknown>) => {
    setError(null);
    setSaid("");
    await work().catch(fail);
  };
  const [begun, begin] = useRun(about, reload, (outcome) => run(async () => {
    const { step } = await call<{ step: Step }>("run_over", outcome);
    set({ step, labelled: outcome.into });
    setSeen({ at: about.outcome!.at });
  }));
  const start = (event: string, params: object) => run(async () => {
    begin(await call<Begun>(event, params));
    await reload();
  });
  const key = about.keys.includes(form.key) ? form.key : (about.keys[0] ?? "");
  const labelled = about.labelled.includes(form.labelled) ? form.labelled : about.labelled[0];
  const isBusy = begun !== null || about.jobs.some((job) => job.key === key);
  const again = (retrain: boolean) => start("label_again", { into: labelled, retrain });
  const stop = (id: string) => void run(() => call("stop", { id }));
  const notices = <Notices {...{ error, setError, said, setSaid, about, seen, setSeen }} />;

  if (!about.keys.length) {
    return (
      <Page name="label">
        {notices}
        <FirstSteps call={call} about={about} onError={fail} onChange={() => void reload()} />
      </Page>
    );
  }
  return (
    <Page name="label">
      <div style={{ display: "flex", gap: 6, alignItems: "center", flexWrap: "wrap" }}>
        {(Object.keys(STEPS) as Step[]).map((step) => (
          <Plain key={step} isOn={step === form.step} onClick={() => set({ step })}>{STEPS[step]}</Plain>
        ))}
        {form.step !== "classes" && about.labelled.length > 1 && (
          <Select size="small" value={labelled} inputProps={{ "aria-label": "Labelled into" }}
            onChange={(event) => set({ labelled: event.target.value })}>
            {about.labelled.map((name) => <MenuItem key={name} value={name}>{name}</MenuItem>)}
          </Select>
        )}
      </div>
      <div style={{ fontSize: 13 }}><Jobs jobs={about.jobs} onStop={stop} /></div>
      {notices}
      {form.step === "classes" && (
        <Classes call={call} about={about} form={form} setForm={setForm} indexKey={key} isBusy={isBusy}
          onLabel={(params) => void start("label_regions", params)} onError={fail}
          onSaid={(text) => { setSaid(text); void reload(); }} />
      )}
      {form.step !== "classes" && !labelled && <p>Nothing was labelled yet: name classes, then press “Label”.</p>}
      {form.step === "review" && labelled && (
        <ReviewPage key={`${labelled} ${begun === null}`} call={call} into={labelled} classes={asClasses(form)} isBusy={isBusy}
          onLabel={again} onError={fail} />
      )}
      {form.step === "report" && labelled && (
        <ReportPage key={`${labelled} ${begun === null}`} call={call} into={labelled} isBusy={isBusy} onLabel={again} run={run}
          onSaid={setSaid} onError={fail} />
      )}
    </Page>
  );
}

/** Follows a run of this tab, also one that was begun before the page was opened again. */
function useRun(
  about: LabelAbout,
  reload: () => Promise<void>,
  onOver: (begun: Begun) => void,
): [Begun | null, (begun: Begun) => void] {
  const start: { begun: Begun | null; since: number } = { begun: null, since: 0 };
  const [{ begun, since }, setRun] = useStored(`label-run:${about.dataset}`, start);
  useEffect(() => {
    if (!begun) return;
    const timer = setInterval(() => void reload(), BUSY_MS);
    return () => clearInterval(timer);
  }, [begun, reload]);
  const { outcome, jobs } = about;
  useEffect(() => {
    if (!begun || !outcome || outcome.title !== begun.title || outcome.at <= since) return;
    if (jobs.some((job) => job.title === begun.title)) return;
    setRun(start);
    if (outcome.severity === "success") onOver(begun);
  }, [begun, outcome, jobs]);
  return [begun, (begun) => setRun({ begun, since: outcome?.at ?? 0 })];
}
