import * as fos from "@fiftyone/state";
import { Alert, CircularProgress, Slider } from "@mui/material";
import React, { useCallback, useDeferredValue, useEffect, useMemo, useRef, useState } from "react";
import { useRecoilValue } from "recoil";
import { Gallery } from "../gallery/Gallery";
import { useTiles } from "../gallery/useTiles";
import { FindingPage } from "../findings/FindingPage";
import { useFinding } from "../findings/useFinding";
import { EMPTY_LABEL_FORM, LabelForm, labelFormName } from "../label/types";
import { withClass } from "../label/withClass";
import { onHandover } from "../server/handover";
import { openPicture } from "../server/openPicture";
import { About, Done, Finding, Jobs, Kind, Question, Tile } from "../server/types";
import { Call, Events, useServer } from "../server/useServer";
import { ActionBar } from "./ActionBar";
import { ConceptForm, Concepts } from "./Concepts";
import { DatasetBar, FirstSteps, Outcome } from "./DatasetBar";
import { countAbove, ranksAbove, Scores } from "./Scores";
import { SearchBar } from "./SearchBar";
import { asLists, EMPTY, Form, useSearch } from "./useSearch";
import { changeStored, useStored } from "./useStored";

const SMALLEST = 72;
const LARGEST = 256;
const CROP_SIDES = [128, 256, 512];
const BUSY_MS = 1000;
const IDLE_MS = 5000;
const LARGE = 400;

/** The page of the panel "Region search". */
export function SearchPanel({ schema }: { schema: { view: Events } }) {
  const call = useServer(schema.view);
  const name = useRecoilValue(fos.datasetName);
  const [about, setAbout] = useState<About | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const load = useAbout(call, name, setAbout, setError);
  if (error) return <Alert severity="error">{error.message}</Alert>;
  if (!about) return <CircularProgress size={24} sx={{ m: 2 }} />;
  if (!about.dataset) return <p>Open a dataset first.</p>;
  return <DatasetPage key={about.dataset} call={call} about={about} reload={load} />;
}

/** Reads what the dataset has, and again while jobs run or others may have changed it. */
export function useAbout<T extends Jobs>(
  call: Call,
  dataset: string,
  setAbout: React.Dispatch<React.SetStateAction<T | null>>,
  setError: (error: Error | null) => void,
) {
  const turn = useRef(0);
  const opened = useRef(Date.now() / 1000);
  const load = useCallback(async () => {
    const mine = ++turn.current;
    try {
      const about = await call<T>("about", { since: opened.current });
      if (mine === turn.current) setAbout(about);
      setError(null);
    } catch (error) {
      if (mine === turn.current) setError(error as Error);
    }
  }, [call, setAbout, setError]);
  useEffect(() => {
    opened.current = Date.now() / 1000;
    void load();
  }, [dataset, load]);
  useEffect(() => {
    let timer = 0;
    let isOver = false;
    const look = async () => {
      const now = await call<Jobs>("jobs", { since: opened.current }).catch(() => null);
      if (isOver) return;
      const wasBusy = isBusy;
      isBusy = Boolean(now?.jobs.length);
      if (now && (isBusy || wasBusy)) setAbout((before) => before && { ...before, ...now });
      // A short job may have come and gone between two looks
      const isNews = Boolean(now?.outcome && now.outcome.at !== lastEnd);
      lastEnd = now?.outcome?.at ?? lastEnd;
      if ((wasBusy && !isBusy) || isNews) void load();
      timer = window.setTimeout(look, isBusy ? BUSY_MS : IDLE_MS);
    };
    let isBusy = false;
    let lastEnd = 0;
    void look();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [call, dataset, load, setAbout]);
  return load;
}

function DatasetPage({ call, about, reload }: { call: Call; about: About; reload: () => Promise<void> }) {
  const [error, setError] = useState<Error | null>(null);
  const [said, setSaid] = useState("");
  const [seen, setSeen] = useStored("seen", { at: 0 });
  const [look, setLook] = useStored("look", { side: 112 });
  const [why, setWhy] = useState<{ tile: Tile; picture: string; said: string } | null>(null);
  const [own, setOwn] = useStored<{ done: Done[] }>(`done:${about.dataset}`, { done: [] });
  const search = useSearch(call, about.dataset!, setError);
  const { found, form, setForm, selected, marks, select, mark } = search;

  // Indexes come and go: what is searched is one that is there
  const keys = about.indexes.map(({ key }) => key);
  const chosen = form.keys.filter((key) => keys.includes(key));
  const whole = { ...form, keys: chosen.length ? chosen : keys.slice(0, 1) };

  const threshold = useDeferredValue(search.threshold);
  const ranks = useMemo(() => (found ? ranksAbove(found, threshold) : []), [found, threshold]);
  const pixels = look.side * (window.devicePixelRatio || 1);
  const side = CROP_SIDES.find((one) => one >= pixels) ?? CROP_SIDES.at(-1)!;
  const fail = useCallback((error: unknown) => setError(error as Error), []);
  const { tiles, request, refresh } = useTiles(call, found?.question ?? null, side, fail);
  const odd = useFinding(call, about.dataset!, fail);
  const isCovered = useRecoilValue(fos.isModalActive);
  const isOfPictures = found?.question.mode === "pictures";
  const counts = useMemo(() => {
    const all = Object.values(marks);
    return { right: all.filter((one) => one === "right").length, wrong: all.filter((one) => one === "wrong").length };
  }, [marks]);

  const run = async (work: () => Promise<unknown>) => {
    setError(null);
    setSaid("");
    try {
      await work();
      return true;
    } catch (error) {
      fail(error);
      return false;
    }
  };
  const start = async (next: Form & { concept?: string | null }, all = {}) => {
    setError(null);
    setSaid("");
    setWhy(null);
    odd.show(null);
    if (found && Object.keys(marks).length)
      await call("remember", { question: { ...found.question, ...asLists(marks) } }).catch(fail);
    await search.search(next, all);
    void reload();
  };
  const ask = (question: Question) => {
    const { right, wrong, concept, stages: _, at: __, min_score: ___, k: ____, ...parts } = question;
    const next = { ...EMPTY, ...parts };
    setForm(next);
    return start({ ...next, concept }, Object.fromEntries([...right.map((id) => [id, "right"]), ...wrong.map((id) => [id, "wrong"])]));
  };
  const restore = (entry: string) => void run(async () => {
    const { question, finding } = await call<{ question?: Question; finding?: Finding }>("restore", { entry });
    if (question) return ask(question);
    odd.show(finding!);
    await reload();
  });
  const find = (kind: Kind) => void run(async () => {
    const { at } = await odd.find(kind, whole.keys[0]!);
    setSeen({ at });
    await reload();
  });
  const latest = useRef(restore);
  latest.current = restore;
  useEffect(() => onHandover((entry) => latest.current(entry)), []);
  const scope = () => ({
    question: found!.question,
    ...(selected.size ? { ids: [...selected] } : { min_score: search.threshold }),
  });
  const open = ({ sample, label_id, field }: Tile) =>
    void run(async () => sample && openPicture(call, sample, label_id, field));
  const idsOf = async (some: number[]) =>
    (await call<{ ids: string[] }>("ids", { question: found!.question, ranks: some })).ids;
  const last = own.done.find(({ id }) => about.actions.some((one) => one.id === id)) ?? about.actions[0];

  if (!about.indexes.length) {
    return (
      <Page>
        <Notices {...{ error, setError, said, setSaid, about, seen, setSeen }} />
        <FirstSteps call={call} about={about} onError={fail} onChange={() => void reload()} />
      </Page>
    );
  }
  return (
    <Page>
      <SearchBar call={call} about={about} form={whole} setForm={setForm} isBusy={search.isBusy}
        onSearch={(next) => void start(next)} onRestore={restore} onFind={find} onError={fail}
        onClear={() => { odd.show(null); search.clear(); }} />
      <Notices {...{ error, setError, said, setSaid, about, seen, setSeen }} />
      {search.isBusy && !found && <p>Searching: the first search of a server loads the encoder, for some seconds.</p>}
      {odd.isBusy && <p>Comparing the regions of {whole.keys[0]} …</p>}
      {odd.finding && (
        <FindingPage call={call} state={odd} size={look.side} pixels={side} isCovered={isCovered} onError={fail}
          onOpen={open} onClose={() => odd.show(null)} />
      )}
      {found && !odd.finding && (
        <>
          {found.total > 0 ? (
            <Scores found={found} threshold={search.threshold} onThreshold={search.setThreshold} />
          ) : (
            <b role="status">{found.question.concept ? "Nothing waits here." : "Nothing to compare with here."}</b>
          )}
          <ActionBar call={call} words={found.question.words} count={countAbove(found, search.threshold)}
            selected={selected.size} marks={counts} isOfPictures={isOfPictures} fields={about.fields} last={last}
            conceptForm={found.question.mode !== "regions" || found.question.concept ? undefined : (onClose) => (
              <ConceptForm found={found} threshold={search.threshold} concepts={about.concepts} onClose={onClose}
                onKeep={(name, min_score) => void run(async () => {
                  const params = { question: found.question, name, min_score };
                  setSaid((await call<{ said: string }>("keep_concept", params)).said);
                  onClose();
                  await reload();
                })} />
            )}
            onDismiss={!found.question.concept ? undefined : () => void run(async () => {
              const { said } = await call<{ said: string }>("dismiss_waiting", scope());
              await ask(found.question);
              setSaid(said);
            })}
            onSelectAll={() => void run(async () => {
              const ids = await idsOf(ranks);
              select(() => ids);
            })}
            onClear={() => select(() => [])}
            onRefine={() => void start(whole, marks)}
            onForgetMarks={() => {
              mark(() => ({}));
              if (found.question.right.length + found.question.wrong.length) void start(whole);
            }}
            onMakeClass={() => void run(async () => {
              const add = (before: LabelForm) => withClass(before, found.question, marks);
              changeStored(labelFormName(about.dataset!), EMPTY_LABEL_FORM, add);
              await call("open_label_regions");
            })}
            onAct={(action, value, options) => run(async () => {
              const answer = await call<{ said: string; done?: Done }>("act", { ...scope(), action, value, ...options });
              if (answer.done) setOwn((before) => ({ done: [answer.done!, ...before.done].slice(0, 20) }));
              setSaid(answer.said);
              await Promise.all([refresh(), reload()]);
            })}
            onShow={(asPictures) => void run(() => call("show_in_grid", { ...scope(), as_pictures: asPictures }))}
            onExamples={(kind) => void run(async () => {
              const { ids } = await call<{ ids: string[] }>("selected", { keys: whole.keys });
              const examples = [...new Set([...selected, ...ids])];
              if (!examples.length) throw new Error("Nothing is selected: click crops here, patches in the grid, or labels of a picture");
              const other = kind === "like" ? "unlike" : "like";
              setForm((before) => ({
                ...before,
                [kind]: [...new Set([...before[kind], ...examples])],
                [other]: before[other].filter((id) => !examples.includes(id)),
              }));
              select(() => []);
            })}
            onUndo={() => void run(async () => {
              setSaid((await call<{ said: string }>("undo", { action: last!.id })).said);
              await Promise.all([refresh(), reload()]);
            })} />
          {why && (
            <figure style={{ margin: 0, display: "flex", gap: 8, alignItems: "flex-start" }}>
              <img src={why.picture} alt={why.said} style={{ maxHeight: 240, maxWidth: "60%" }} />
              <figcaption style={{ fontSize: 13 }}>
                {why.said}
                <br />
                <button type="button" onClick={() => void run(async () => {
                  const params = { question: found.question, id: why.tile.id };
                  setSaid((await call<{ said: string }>("keep_heatmap", params)).said);
                })}>Keep as a heatmap</button>{" "}
                <button type="button" onClick={() => setWhy(null)}>Hide</button>
              </figcaption>
            </figure>
          )}
          <Gallery ranks={ranks} tiles={tiles} request={request} side={look.side} selected={selected} marks={marks}
            isMarkable={!isOfPictures} isCovered={isCovered}
            onSelect={(ids, isOn) =>
              select((before) => (isOn ? [...new Set([...before, ...ids])] : before.filter((id) => !ids.includes(id))))}
            onSelectRanks={(some) => void run(async () => {
              const loaded = some.map((rank) => tiles.get(rank)?.id);
              const ids = loaded.every(Boolean) ? (loaded as string[]) : await idsOf(some);
              select((before) => [...new Set([...before, ...ids])]);
            })}
            onClear={() => select(() => [])}
            onMark={(id, one) => mark(({ [id]: before, ...others }) => (before === one ? others : { ...others, [id]: one }))}
            onOpen={open}
            onExplain={(tile) => void run(async () => {
              const params = { question: found.question, id: tile.id };
              setWhy({ tile, ...(await call<{ picture: string; said: string }>("explain", params)) });
            })}
            enlarge={async ({ rank }) => {
              const params = { question: found.question, ranks: [rank], side: LARGE };
              return (await call<{ tiles: Tile[] }>("tiles", params)).tiles[0]?.crop;
            }} />
        </>
      )}
      {!found && !odd.finding && <div style={{ flex: 1 }} />}
      <DatasetBar call={call} about={about} onError={fail} onChange={() => void reload()}>
        <Concepts call={call} concepts={about.concepts} current={found?.question.concept ?? null}
          onShow={({ question }) => void ask(question)} onError={fail}
          onDelete={() => {
            search.clear();
            void reload();
          }} />
        <Slider size="small" aria-label="Size of the crops" title="Size of the crops" sx={{ width: 80, flex: "none", mr: 1 }}
          min={SMALLEST} max={LARGEST} step={8} value={look.side}
          onChange={(_, value) => setLook({ side: value as number })} />
      </DatasetBar>
    </Page>
  );
}

/** As high as the panel, so that the bars stay and only the gallery scrolls. */
export function Page({ name = "search", children }: { name?: string; children: React.ReactNode }) {
  return (
    <div data-cy={`alphaclip-${name}`}
      style={{ display: "flex", flexDirection: "column", gap: 8, height: "100%", minHeight: 0, padding: 8, boxSizing: "border-box" }}>
      {children}
    </div>
  );
}

interface NoticesProps {
  error: Error | null;
  setError: (error: Error | null) => void;
  said: string;
  setSaid: (said: string) => void;
  about: Jobs;
  seen: { at: number };
  setSeen: (seen: { at: number }) => void;
}

export function Notices({ error, setError, said, setSaid, about, seen, setSeen }: NoticesProps) {
  const { outcome } = about;
  return (
    <>
      {error && <Alert severity="error" onClose={() => setError(null)} sx={{ py: 0 }}>{error.message}</Alert>}
      {said && <Alert severity="success" onClose={() => setSaid("")} sx={{ py: 0 }}>{said}</Alert>}
      {outcome && outcome.at > seen.at && <Outcome outcome={outcome} onClose={() => setSeen({ at: outcome.at })} />}
    </>
  );
}
