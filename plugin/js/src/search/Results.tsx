import React, { KeyboardEvent, useDeferredValue, useMemo, useState } from "react";
import { Gallery } from "../gallery/Gallery";
import { useTiles } from "../gallery/useTiles";
import { EMPTY_LABEL_FORM, LabelForm, labelFormName } from "../label/types";
import { withClass } from "../label/withClass";
import { useNotices } from "../page/Page";
import { PageProps } from "../page/panelOf";
import { changeStored, useStored } from "../page/useStored";
import { About, Done, Mark, Question, Tile } from "../server/types";
import { Action, ActionBar } from "./ActionBar";
import { ConceptForm } from "./Concepts";
import { countAbove, ranksAbove, Scores } from "./Scores";
import { asLists, Form, Found, measureOf, SearchState } from "./useSearch";

const LARGE = 400;

interface Props extends PageProps<About>, Pick<ReturnType<typeof useNotices>, "run" | "say" | "fail"> {
  search: SearchState;
  found: Found;
  form: Form;
  /** Of a crop: as wide as it is drawn, and in pixels of its picture. */
  size: { side: number; pixels: number };
  onSearch: (form: Form, marks?: Record<string, Mark>) => Promise<unknown>;
  onAsk: (question: Question) => Promise<unknown>;
  onOpen: (tile: Tile) => void;
}

/** The hits of a search, and all that is done with them. */
export function Results(props: Props) {
  const { call, about, reload, search, found, form, size, run, say } = props;
  const { selected, marks, select, mark } = search;
  const { question } = found;
  const [own, setOwn] = useStored<{ done: Done[] }>(`done:${about.dataset}`, { done: [] });
  const [dismissed, setDismissed] = useStored<{ log: Dismissal[] }>(`dismissed:${about.dataset}`, { log: [] });
  const [why, setWhy] = useState<Why | null>(null);
  const threshold = useDeferredValue(search.threshold);
  const ranks = useMemo(() => ranksAbove(found, threshold), [found, threshold]);
  const { tiles, request, refresh } = useTiles(call, question, size.pixels, props.fail);
  const isOfPictures = question.mode === "pictures";
  const marked = useMemo(() => asLists(marks), [marks]);
  const lastDismissed = dismissed.log.find(({ concept }) => concept === question.concept);
  const last = lastDismissed ?? own.done.find(({ id }) => about.actions.some((one) => one.id === id)) ?? about.actions[0];

  const scope = () => ({ question, ...(selected.size ? { ids: [...selected] } : { min_score: search.threshold }) });
  const idsOf = async (some: number[]) => (await call<{ ids: string[] }>("ids", { question, ranks: some })).ids;
  /** Has an event change the dataset, and shows what it says and what it changed. */
  const change = async (event: string, params: object) => {
    const answer = await call<{ said: string; done?: Done }>(event, params);
    say(answer.said);
    await Promise.all([refresh(), reload()]);
    return answer;
  };
  const act = (action: Action | "export", value?: string, options?: object) => run(async () => {
    const { done } = await change("act", { ...scope(), action, value, ...options });
    if (done) setOwn((before) => ({ done: [done, ...before.done].slice(0, 20) }));
  });
  const takeAsExamples = (kind: "like" | "unlike") => run(async () => {
    const { ids } = await call<{ ids: string[] }>("selected", { keys: form.keys });
    const examples = [...new Set([...selected, ...ids])];
    if (!examples.length)
      throw new Error("Nothing is selected: click crops here, patches in the grid, or labels of a picture");
    const other = kind === "like" ? "unlike" : "like";
    search.setForm((before) => ({
      ...before,
      [kind]: [...new Set([...before[kind], ...examples])],
      [other]: before[other].filter((id) => !examples.includes(id)),
    }));
    select(() => []);
  });
  const makeClass = () => run(async () => {
    const add = (before: LabelForm) => withClass(before, question, marks);
    changeStored(labelFormName(about.dataset!), EMPTY_LABEL_FORM, add);
    await call("open_label_regions");
  });
  const dismiss = () => run(async () => {
    const { said, ids } = await call<{ said: string; ids: string[] }>("dismiss_waiting", scope());
    const one = { id: String(Date.now()), concept: question.concept!, ids, said: `dismissing ${ids.length.toLocaleString("en")}` };
    setDismissed(({ log }) => ({ log: [one, ...log].slice(0, 20) }));
    await props.onAsk(question);
    say(said);
  });
  const undismiss = ({ id, concept, ids }: Dismissal) => run(async () => {
    const { said } = await call<{ said: string }>("undismiss", { name: concept, ids });
    setDismissed(({ log }) => ({ log: log.filter((one) => one.id !== id) }));
    await props.onAsk(question);
    say(said);
  });
  const forgetMarks = () => {
    mark(() => ({}));
    if (question.right.length + question.wrong.length) void props.onSearch(form);
  };
  const selectRanks = (some: number[]) => run(async () => {
    const loaded = some.map((rank) => tiles.get(rank)?.id);
    const ids = loaded.every(Boolean) ? (loaded as string[]) : await idsOf(some);
    select((before) => [...new Set([...before, ...ids])]);
  });
  const explain = (tile: Tile) => run(async () => {
    const told = await call<Pick<Why, "picture" | "said">>("explain", { question, id: tile.id });
    setWhy({ ...told, id: tile.id, found });
  });

  const undo = () => void (lastDismissed ? undismiss(lastDismissed) : run(() => change("undo", { action: last!.id })));
  const onKeyDown = (event: KeyboardEvent) => {
    const isTyping = (event.target as Element).matches("input, textarea");
    if (event.key === "u" && lastDismissed && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) undo();
  };

  return (
    <div onKeyDown={onKeyDown} style={{ display: "contents" }}>
      {found.total > 0 ? (
        <Scores found={found} threshold={search.threshold} onThreshold={search.setThreshold} />
      ) : (
        <b role="status">{question.concept ? "Nothing waits here." : "Nothing to compare with here."}</b>
      )}
      <ActionBar call={call} words={question.words} count={countAbove(found, search.threshold)}
        selected={selected.size} marks={{ right: marked.right.length, wrong: marked.wrong.length }}
        isOfPictures={isOfPictures} fields={about.fields} last={last}
        conceptForm={question.mode !== "regions" || question.concept || question.prompt ? undefined : (onClose) => (
          <ConceptForm found={found} threshold={search.threshold} concepts={about.concepts} onClose={onClose}
            onKeep={(name, min_score) => void run(async () => {
              await change("keep_concept", { question, name, min_score });
              onClose();
            })} />
        )}
        onVerify={question.mode === "regions" && question.words && !question.concept && !question.prompt && !search.isBusy
          ? () => void run(async () => say(await search.lookAgain("verify"))) : undefined}
        onAskModel={question.mode === "regions" && !search.isBusy
          ? (text, choices) => run(async () => say(await search.lookAgain("ask_model", { text, choices }))) : undefined}
        onDismiss={question.concept ? () => void dismiss() : undefined}
        onSelectAll={() => void selectRanks(ranks)}
        onClear={() => select(() => [])}
        onRefine={() => void props.onSearch(form, marks)}
        onForgetMarks={forgetMarks}
        onMakeClass={() => void makeClass()}
        onAct={act}
        onShow={(asPictures) => void run(() => call("show_in_grid", { ...scope(), as_pictures: asPictures }))}
        onExamples={(kind) => void takeAsExamples(kind)}
        onUndo={undo} />
      {why?.found === found && (
        <Explanation {...why} onHide={() => setWhy(null)}
          onKeep={() => void run(() => change("keep_heatmap", { question, id: why.id }))} />
      )}
      <Gallery ranks={ranks} question={JSON.stringify({ ...question, at: null })} tiles={tiles} request={request}
        side={size.side} selected={selected} marks={marks}
        isMarkable={!isOfPictures} measure={measureOf(question)}
        onSelect={(ids, isOn) =>
          select((before) => (isOn ? [...new Set([...before, ...ids])] : before.filter((id) => !ids.includes(id))))}
        onSelectRanks={(some) => void selectRanks(some)}
        onClear={() => select(() => [])}
        onMark={(id, one) => mark(({ [id]: before, ...others }) => (before === one ? others : { ...others, [id]: one }))}
        onOpen={props.onOpen}
        onExplain={(tile) => void explain(tile)}
        enlarge={async ({ rank }) =>
          (await call<{ tiles: Tile[] }>("tiles", { question, ranks: [rank], side: LARGE })).tiles[0]?.crop} />
    </div>
  );
}

/** Regions that were taken out of a concept's list at once. */
interface Dismissal extends Done {
  concept: string;
  ids: string[];
}

/** Where the encoder looked, of a region of some hits. */
interface Why {
  id: string;
  found: Found;
  picture: string;
  said: string;
}

function Explanation({ picture, said, onKeep, onHide }: Why & { onKeep: () => void; onHide: () => void }) {
  return (
    <figure style={{ margin: 0, display: "flex", gap: 8, alignItems: "flex-start" }}>
      <img src={picture} alt={said} style={{ maxHeight: 240, maxWidth: "60%" }} />
      <figcaption style={{ fontSize: 13 }}>
        {said}
        <br />
        <button type="button" onClick={onKeep}>Keep as a heatmap</button>{" "}
        <button type="button" onClick={onHide}>Hide</button>
      </figcaption>
    </figure>
  );
}
