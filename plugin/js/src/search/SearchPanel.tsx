import { Slider } from "@mui/material";
import React, { memo, useEffect, useMemo } from "react";
import { AuditPage } from "../audit/AuditPage";
import { useAudit } from "../audit/useAudit";
import { FindingPage } from "../findings/FindingPage";
import { useFinding } from "../findings/useFinding";
import { FirstSteps } from "../page/Jobs";
import { Page, useNotices } from "../page/Page";
import { PageProps, panelOf } from "../page/panelOf";
import { useSteady } from "../page/useSteady";
import { useStored } from "../page/useStored";
import { onHandover } from "../server/handover";
import { openPicture } from "../server/openPicture";
import { About, Finding, Kind, Mark, Question, Tile } from "../server/types";
import { Concepts } from "./Concepts";
import { DatasetBar } from "./DatasetBar";
import { Results } from "./Results";
import { SearchBar } from "./SearchBar";
import { asLists, EMPTY, Form, useSearch } from "./useSearch";

const SMALLEST = 72;
const LARGEST = 256;
const CROP_SIDES = [128, 256, 512];

/** The panel "Region search". */
export const SearchPanel = panelOf(SearchPage);

function SearchPage({ call, about, reload }: PageProps<About>) {
  const { notices, run, fail, say, see } = useNotices(about);
  const [look, setLook] = useStored("look", { side: 112 });
  const search = useSearch(call, about.dataset!, fail);
  const odd = useFinding(call, about.dataset!, fail);
  const audits = useAudit(call, about.dataset!, about.outcome?.at, fail);
  const { audit } = audits;
  const { found, form, setForm, marks } = search;

  // Indexes come and go: what is searched is one that is there
  const whole = useMemo(() => {
    const keys = about.indexes.map(({ key }) => key);
    const chosen = form.keys.filter((key) => keys.includes(key));
    return { ...form, keys: chosen.length ? chosen : keys.slice(0, 1) };
  }, [form, about.indexes]);
  const pixels = look.side * (window.devicePixelRatio || 1);
  const size = { side: look.side, pixels: CROP_SIDES.find((one) => one >= pixels) ?? CROP_SIDES.at(-1)! };

  const start = (next: Form & { concept?: string | null }, all: Record<string, Mark> = {}) => run(async () => {
    odd.show(null);
    void audits.show(null);
    if (found && Object.keys(marks).length)
      await call("remember", { question: { ...found.question, ...asLists(marks) } }).catch(fail);
    const lost = (await search.search(next, all)).length;
    if (lost) say(`${lost} of the examples and marks ${lost === 1 ? "is" : "are"} left out: the index does not hold them.`);
    void reload();
  });
  const ask = (question: Question) => {
    const { right, wrong, concept, stages: _, at: __, min_score: ___, k: ____, prompt: _____, ...parts } = question;
    const next = { ...EMPTY, ...parts };
    const all = [...right.map((id) => [id, "right"]), ...wrong.map((id) => [id, "wrong"])];
    setForm(next);
    return start({ ...next, concept }, Object.fromEntries(all));
  };
  const onRestore = (entry: string) => void run(async () => {
    const { question, finding } = await call<{ question?: Question; finding?: Finding }>("restore", { entry });
    if (question) return ask(question);
    odd.show(finding!);
    await audits.show(null);
    await reload();
  });
  const onFind = (kind: Kind, attribute?: string) => void run(async () => {
    await audits.show(null);
    see((await odd.find(kind, whole.keys[0]!, attribute)).at);
    await reload();
  });
  const onEverywhere = () => void run(async () => {
    const { key } = await call<{ key: string }>("find_everywhere", { question: whole });
    // Once it is there it is searched too
    search.setForm((before) => ({ ...before, keys: [...new Set([...whole.keys, key])] }));
    await reload();
  });
  const bar = useSteady({
    onRestore, onFind, onEverywhere,
    onSearch: (next: Form) => void start(next),
    onAudit: () => void run(() => audits.show({ key: whole.keys[0]!, concept: form.words.trim() })),
    onClear: () => {
      odd.show(null);
      void audits.show(null);
      search.clear();
    },
  });
  useEffect(() => onHandover(bar.onRestore), [bar]);
  const open = ({ sample, label_id, field }: Tile) =>
    void run(async () => sample && openPicture(call, sample, label_id, field));

  if (!about.indexes.length) {
    return (
      <Page>
        {notices}
        <FirstSteps call={call} about={about} onError={fail} onChange={() => void reload()} />
      </Page>
    );
  }
  return (
    <Page>
      <SearchBar call={call} about={about} form={whole} setForm={setForm} isBusy={search.isBusy} onError={fail} {...bar} />
      {notices}
      {search.isBusy && !found && <p>Searching: the first search of a server loads the encoder, for some seconds.</p>}
      {odd.isBusy && <p>Comparing the regions of {whole.keys[0]} …</p>}
      {audit && (
        <AuditPage key={`${audit.key} ${audit.concept}`} call={call} state={audits} audit={audit}
          isAsking={about.jobs.some(({ key }) => key === audit.job)}
          onAsk={() => void run(async () => {
            await call("ask_detector", { key: audit.key, concept: audit.concept });
            await reload();
          })}
          onClose={() => void audits.show(null)} onError={fail} />
      )}
      {odd.finding && !audit && (
        <FindingPage call={call} state={odd} size={size.side} pixels={size.pixels} onError={fail}
          onOpen={open} onClose={() => odd.show(null)} />
      )}
      {found && !odd.finding && !audit && (
        <Results {...{ call, about, reload, search, found, size, run, say, fail }} form={whole}
          onSearch={start} onAsk={ask} onOpen={open} />
      )}
      {!found && !odd.finding && !audit && <div style={{ flex: 1 }} />}
      <DatasetBar call={call} about={about} onError={fail} onChange={() => void reload()}>
        <Concepts call={call} concepts={about.concepts} current={found?.question.concept ?? null}
          onShow={({ question }) => void ask(question)} onError={fail}
          onDelete={() => {
            search.clear();
            void reload();
          }} />
        <CropSize side={look.side} onChange={setLook} />
      </DatasetBar>
    </Page>
  );
}

const CropSize = memo(({ side, onChange }: { side: number; onChange: (look: { side: number }) => void }) => (
  <Slider size="small" aria-label="Size of the crops" title="Size of the crops" sx={{ width: 80, flex: "none", mr: 1 }}
    min={SMALLEST} max={LARGEST} step={8} value={side} onChange={(_, value) => onChange({ side: value as number })} />
));
