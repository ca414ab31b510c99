import { Button, Chip, IconButton, Menu, MenuItem, Select, TextField } from "@mui/material";
import React, { FormEvent, memo, useState } from "react";
import { About, Kind } from "../server/types";
import { Call } from "../server/useServer";
import { Check } from "../page/controls";
import { PictureBox } from "./PictureBox";
import { Form } from "./useSearch";

const MODES = {
  regions: "Regions",
  unlabelled: "Objects nobody labelled",
  pictures: "Pictures with A, B but not C",
};

const KINDS: Record<Kind, string> = {
  "label errors": "Label errors: classes that the vectors speak against",
  "missing labels": "Missing labels: objects of the classes that nobody labelled",
  "badly drawn": "Badly drawn: labels that a segmenter draws otherwise",
  doubled: "Doubled: objects with two labels",
  duplicates: "Duplicates: regions that repeat another",
  outliers: "Outliers: regions that are like no other",
};

interface Props {
  call: Call;
  about: About;
  form: Form;
  setForm: (change: (form: Form) => Form) => void;
  isBusy: boolean;
  onSearch: (form: Form) => void;
  onRestore: (entry: string) => void;
  onFind: (kind: Kind, attribute?: string) => void;
  /** Looks for the words in all pictures, or how much of it no region shows. */
  onEverywhere: () => void;
  onAudit: () => void;
  onClear: () => void;
  onError: (error: Error) => void;
}

/**
 * One line to search with; what is rarely needed is in a fold, what is in force stands as chips. Its fields and
 * buttons are the greater part of what a mark would have to draw: it is drawn where it changed.
 */
export const SearchBar = memo((props: Props) => {
  const { call, about, form, setForm, isBusy } = props;
  const [fold, setFold] = useState<"more" | "picture" | "history" | null>(null);
  const set = (change: Partial<Form>) => setForm((before) => ({ ...before, ...change }));
  const flip = (name: typeof fold) => setFold(fold === name ? null : name);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    props.onSearch(form);
  };
  const loadEncoder = () => call("load_encoder", { keys: form.keys }).catch(() => undefined);
  const words = { size: "small" as const, onFocus: loadEncoder };
  return (
    <form onSubmit={submit} role="search">
      <div style={{ display: "flex", flexWrap: "wrap", gap: 4, alignItems: "center" }}>
        <TextField {...words} sx={{ flex: "2 1 112px" }} label="Search for" placeholder="a red apple"
          value={form.words} onChange={(event) => set({ words: event.target.value })} />
        <TextField {...words} sx={{ flex: "1 1 78px" }} label="But not" placeholder="a leaf, a bag"
          value={form.avoid} onChange={(event) => set({ avoid: event.target.value })} />
        <Button type="submit" variant="contained" disabled={isBusy}>{isBusy ? "…" : "Search"}</Button>
        <FindMenu {...props} indexKey={form.keys[0]!} words={form.words.trim()} />
        <Icon name="image_search" label="Picture" isOn={fold === "picture"} onClick={() => flip("picture")} />
        <Icon name="history" label="History" isOn={fold === "history"} onClick={() => flip("history")} />
        <Icon name="tune" label="Options" isOn={fold === "more"} onClick={() => flip("more")} />
        <Icon name="backspace" label="Clear" onClick={props.onClear} />
      </div>
      <Chips form={form} set={set} />
      {fold === "more" && (
        <div style={{ display: "flex", gap: 12, alignItems: "center", flexWrap: "wrap", paddingTop: 6 }}>
          <Select size="small" value={form.mode} inputProps={{ "aria-label": "Find" }}
            onChange={(event) => set({ mode: event.target.value as Form["mode"] })}>
            {Object.entries(MODES).map(([mode, label]) => <MenuItem key={mode} value={mode}>{label}</MenuItem>)}
          </Select>
          {about.indexes.length > 1 && (
            <Select size="small" multiple value={form.keys} inputProps={{ "aria-label": "Indexes" }}
              onChange={(event) => set({ keys: [event.target.value].flat() })}>
              {about.indexes.map(({ key }) => <MenuItem key={key} value={key}>{key}</MenuItem>)}
            </Select>
          )}
          <Check label="Only in the current view" value={form.inside} onChange={(inside) => set({ inside })} />
          {form.mode === "regions" && (
            <Check label="Match the words with captions too" value={Boolean(form.captions)}
              onChange={(isOn) => set({ captions: isOn ? "caption" : null })} />
          )}
        </div>
      )}
      {fold === "picture" && (
        <PictureBox call={call} picture={form.picture} onChange={(picture) => set({ picture })} onError={props.onError} />
      )}
      {fold === "history" && (
        <ul style={{ listStyle: "none", margin: 0, padding: "6px 0", maxHeight: 160, overflow: "auto" }}>
          {about.history.map(({ entry, said }) => (
            <li key={entry}>
              <Button size="small" sx={{ textTransform: "none" }}
                onClick={() => { setFold(null); props.onRestore(entry); }}>
                {said}
              </Button>
            </li>
          ))}
          {!about.history.length && <li>Nothing was searched for yet.</li>}
        </ul>
      )}
    </form>
  );
});

interface FindProps extends Pick<Props, "call" | "onFind" | "onEverywhere" | "onAudit"> {
  indexKey: string;
  words: string;
}

function FindMenu({ call, indexKey, words, onFind, onEverywhere, onAudit }: FindProps) {
  const [anchor, setAnchor] = useState<HTMLElement | null>(null);
  const [attributes, setAttributes] = useState<string[]>([]);
  const open = (button: HTMLElement) => {
    setAnchor(button);
    call<{ attributes: string[] }>("attributes", { key: indexKey })
      .then((answer) => setAttributes(answer.attributes), () => setAttributes([]));
  };
  return (
    <>
      <Button sx={{ minWidth: 0, whiteSpace: "nowrap", color: "text.primary" }} aria-haspopup="menu"
        onClick={(event) => open(event.currentTarget)}>Find ▾</Button>
      <Menu open={Boolean(anchor)} anchorEl={anchor} onClose={() => setAnchor(null)} disableRestoreFocus>
        {(Object.keys(KINDS) as Kind[]).map((kind) => (
          <MenuItem key={kind} onClick={() => { setAnchor(null); onFind(kind); }}>{KINDS[kind]}</MenuItem>
        ))}
        {attributes.filter((name) => name !== "label").map((name) => (
          <MenuItem key={name} onClick={() => { setAnchor(null); onFind("label errors", name); }}>
            Errors in “{name}”, an attribute of the labels
          </MenuItem>
        ))}
        <MenuItem disabled={!words} onClick={() => { setAnchor(null); onEverywhere(); }}>
          {words ? `“${words}”` : "The words"} also where nothing is segmented yet
        </MenuItem>
        <MenuItem disabled={!words} onClick={() => { setAnchor(null); onAudit(); }}>
          Audit: how many of {words ? `“${words}”` : "the words"} no region shows
        </MenuItem>
      </Menu>
    </>
  );
}

interface IconProps {
  name: string;
  label: string;
  isOn?: boolean;
  onClick: () => void;
}

function Icon({ name, label, isOn, onClick }: IconProps) {
  return (
    <IconButton size="small" color={isOn ? "primary" : "default"} title={label} aria-label={label}
      aria-pressed={isOn} onClick={onClick} sx={{ p: "3px" }}>
      <span className="material-icons" style={{ fontSize: 20 }}>{name}</span>
    </IconButton>
  );
}

function Chips({ form, set }: { form: Form; set: (change: Partial<Form>) => void }) {
  const counted = (ids: string[], how: string) => `${ids.length} ${ids.length === 1 ? "example" : "examples"} ${how}`;
  const chips: [boolean, string, Partial<Form>][] = [
    [form.mode !== "regions", MODES[form.mode], { mode: "regions" }],
    [form.like.length > 0, counted(form.like, "to be like"), { like: [] }],
    [form.unlike.length > 0, counted(form.unlike, "not to be like"), { unlike: [] }],
    [form.picture !== null, form.picture?.box ? "a part of a picture" : "a picture", { picture: null }],
    [form.inside, "in the current view", { inside: false }],
    [Boolean(form.captions), "captions too", { captions: null }],
  ];
  const there = chips.filter(([isThere]) => isThere);
  if (!there.length) return null;
  return (
    <div style={{ display: "flex", gap: 4, flexWrap: "wrap", paddingTop: 6 }}>
      {there.map(([, label, without]) => <Chip key={label} size="small" label={label} onDelete={() => set(without)} />)}
    </div>
  );
}
