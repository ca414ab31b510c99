import { Button, Menu, MenuItem } from "@mui/material";
import React, { FormEvent, useState } from "react";
import { Check, Complete, Plain } from "../page/controls";
import { Done } from "../server/types";
import { Call } from "../server/useServer";
import { AskForm } from "./AskForm";

export type Action = "tag" | "label" | "save_view";

export interface ActionBarProps {
  call: Call;
  words: string;
  count: number;
  selected: number;
  marks: { right: number; wrong: number };
  isOfPictures: boolean;
  fields: string[];
  last: Done | undefined;
  onSelectAll: () => void;
  onClear: () => void;
  onRefine: () => void;
  onForgetMarks: () => void;
  onMakeClass: () => void;
  onAct: (action: Action | "export", value?: string, options?: object) => Promise<boolean>;
  onShow: (asPictures: boolean) => void;
  onExamples: (kind: "like" | "unlike") => void;
  onUndo: () => void;
  /** Where the search can be watched: the form that names it. */
  conceptForm?: (onClose: () => void) => React.ReactNode;
  onDismiss?: () => void;
  /** Where a detector can be asked for the words. */
  onVerify?: () => void;
  /** Where a language model can be asked about the hits. */
  onAskModel?: (text: string, choices: string[]) => Promise<boolean>;
}

/** What can be done with the selected hits, or else with all that match. */
export function ActionBar(props: ActionBarProps) {
  const { count, selected, marks, words, isOfPictures } = props;
  const [form, setForm] = useState<Action | "concept" | "ask" | null>(null);
  const [menu, setMenu] = useState<HTMLElement | null>(null);
  const [names, setNames] = useState<{ tags: string[]; classes: string[] }>({ tags: [], classes: [] });
  const number = (selected || count).toLocaleString("en");
  const scope = selected ? `${number} selected` : `all ${number}`;
  const open = (action: Action) => {
    setForm(form === action ? null : action);
    props.call<typeof names>("names").then(setNames, () => undefined);
  };
  const choose = (then: () => void) => () => {
    setMenu(null);
    // Once the menu holds the focus no more, so that a form can take it
    window.setTimeout(then);
  };
  return (
    <div>
      <div style={{ display: "flex", flexWrap: "wrap", gap: 6, alignItems: "center" }}>
        {selected ? (
          <Plain onClick={props.onClear} title="Escape">{scope} ✕</Plain>
        ) : (
          <Plain onClick={props.onSelectAll} title="Ctrl+A">Select {scope}</Plain>
        )}
        <Plain isOn={form === "tag"} onClick={() => open("tag")}>Tag</Plain>
        {!isOfPictures && <Plain isOn={form === "label"} onClick={() => open("label")}>Label</Plain>}
        {props.onDismiss && <Plain onClick={props.onDismiss}>Dismiss {scope}</Plain>}
        {props.onVerify && (
          <Plain onClick={props.onVerify} title="A detector looks for the words in the pictures of the best 100, and ranks by it">
            Verify
          </Plain>
        )}
        {props.onAskModel && (
          <Plain isOn={form === "ask"} onClick={() => setForm(form === "ask" ? null : "ask")}
            title="A language model answers a question about each of the best hits">
            Ask
          </Plain>
        )}
        <Plain onClick={() => props.onShow(isOfPictures)}>Show in grid</Plain>
        <Plain onClick={(event) => setMenu(event.currentTarget)} title="More to do with them">More ▾</Plain>
        {(marks.right > 0 || marks.wrong > 0) && (
          <>
            <Plain isOn onClick={props.onRefine}>
              Search again with {marks.right} ✓ {marks.wrong} ✗
            </Plain>
            <Plain onClick={props.onForgetMarks}>Forget the marks</Plain>
            <Plain onClick={props.onMakeClass} title="Its words and marks become a class in “Label regions”">
              Make this a class
            </Plain>
          </>
        )}
        {props.last && (
          <Plain onClick={props.onUndo} title={`Take back ${props.last.said}`}>
            Undo {props.last.said}
          </Plain>
        )}
      </div>
      <Menu open={Boolean(menu)} anchorEl={menu} onClose={() => setMenu(null)} disableRestoreFocus>
        <MenuItem onClick={choose(() => props.onShow(true))}>Show pictures</MenuItem>
        {props.conceptForm && (
          <MenuItem onClick={choose(() => setForm("concept"))}>Keep as a concept</MenuItem>
        )}
        {!isOfPictures && [
          <MenuItem key="view" onClick={choose(() => open("save_view"))}>Save as a view</MenuItem>,
          <MenuItem key="class" onClick={choose(props.onMakeClass)}>Make this a class</MenuItem>,
          <MenuItem key="ids" onClick={choose(() => void props.onAct("export"))}>Export ids</MenuItem>,
          <MenuItem key="like" onClick={choose(() => props.onExamples("like"))}>
            More like the selected
          </MenuItem>,
          <MenuItem key="unlike" onClick={choose(() => props.onExamples("unlike"))}>
            Less like the selected
          </MenuItem>,
        ]}
      </Menu>
      {form === "concept" && props.conceptForm?.(() => setForm(null))}
      {form === "ask" && props.onAskModel && (
        <AskForm words={words} onClose={() => setForm(null)}
          onAsk={async (text, choices) => {
            if (await props.onAskModel!(text, choices)) setForm(null);
          }} />
      )}
      {form && form !== "concept" && form !== "ask" && (
        <ActionForm key={form} action={form} scope={scope} words={words} fields={props.fields}
          options={form === "tag" ? names.tags : form === "label" ? names.classes : []}
          onDone={async (value, options) => {
            if (await props.onAct(form, value, options)) setForm(null);
          }}
          onClose={() => setForm(null)} />
      )}
    </div>
  );
}

interface FormProps {
  action: Action;
  scope: string;
  words: string;
  fields: string[];
  options: string[];
  onDone: (value: string, options: object) => void;
  onClose: () => void;
}

const TITLES = { tag: "Tag", label: "Class", save_view: "Name of the view" };
const VERBS = { tag: "Tag", label: "Label", save_view: "Save" };

function ActionForm({ action, scope, words, fields, options, onDone, onClose }: FormProps) {
  const [value, setValue] = useState(words);
  const [into, setInto] = useState("found");
  const [inPlace, setInPlace] = useState(false);
  const [overwrite, setOverwrite] = useState(false);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (value.trim()) onDone(value.trim(), { where: inPlace ? "in_place" : "copy", into, overwrite });
  };
  return (
    <form onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && onClose()}
      style={{ display: "flex", flexWrap: "wrap", gap: 8, alignItems: "center", paddingTop: 8 }}>
      <Complete label={TITLES[action]} value={value} options={options} onChange={setValue} isFirst />
      {action === "label" && (
        <>
          {!inPlace && <Complete label="Into the field" value={into} options={fields} onChange={setInto} />}
          <Check label="On these labels themselves" value={inPlace} onChange={setInPlace} />
          {inPlace && <Check label="Replace their class" value={overwrite} onChange={setOverwrite} />}
        </>
      )}
      <Button type="submit" variant="contained" size="small" disabled={!value.trim()}>
        {VERBS[action]} {scope}
      </Button>
    </form>
  );
}
