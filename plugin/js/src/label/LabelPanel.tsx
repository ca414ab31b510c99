import { MenuItem, Select } from "@mui/material";
import React, { useEffect } from "react";
import { Plain } from "../page/controls";
import { FirstSteps, Jobs } from "../page/Jobs";
import { Page, useNotices } from "../page/Page";
import { PageProps, panelOf } from "../page/panelOf";
import { useStored } from "../page/useStored";
import { asClasses, Classes } from "./Classes";
import { ReportPage } from "./Report";
import { ReviewPage } from "./Review";
import { Begun, EMPTY_LABEL_FORM, LabelAbout, LabelForm, labelFormName, Step } from "./types";

const STEPS: Record<Step, string> = { classes: "Classes", review: "Review", report: "Report" };
const BUSY_MS = 700;

function LabelPage({ call, about, reload }: PageProps<LabelAbout>) {
  const [form, setForm] = useStored<LabelForm>(labelFormName(about.dataset!), EMPTY_LABEL_FORM);
  const { notices, run, fail, say, see } = useNotices(about);
  const set = (change: Partial<LabelForm>) => setForm((before) => ({ ...before, ...change }));
  const [begun, begin] = useRun(about, reload, (outcome) => run(async () => {
    const { step } = await call<{ step: Step }>("run_over", outcome);
    set({ step, labelled: outcome.into });
    see(about.outcome!.at);
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
          onSaid={(text) => { say(text); void reload(); }} />
      )}
      {form.step !== "classes" && !labelled && <p>Nothing was labelled yet: name classes, then press “Label”.</p>}
      {form.step === "review" && labelled && (
        <ReviewPage key={`${labelled} ${begun === null}`} call={call} into={labelled} classes={asClasses(form)} isBusy={isBusy}
          isRunning={begun !== null} onLabel={again} onError={fail} />
      )}
      {form.step === "report" && labelled && (
        <ReportPage key={`${labelled} ${begun === null}`} call={call} into={labelled} isBusy={isBusy} onLabel={again} run={run}
          onSaid={say} onError={fail} />
      )}
    </Page>
  );
}

/** The panel "Label regions". */
export const LabelPanel = panelOf(LabelPage);

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
