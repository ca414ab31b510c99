import { Autocomplete, Button, Chip, IconButton, MenuItem, Select, TextField } from "@mui/material";
import React, { ClipboardEvent, useEffect, useRef, useState } from "react";
import { Check, Complete, Plain } from "../page/controls";
import { Call } from "../server/useServer";
import { Counted, LabelAbout, LabelForm, Row, Settings, spelled } from "./types";
import { usePreview } from "./usePreview";

const HINT =
  "One class in each field: its name, or “name: prompt, prompt; not: what it is mistaken for; kind of: another " +
  "class; also: another name”.";
const BLANK: Row = { text: "", examples: [], wrong: [] };
const MODES = {
  promise: "A promise: with the confidence, at least so many are right",
  ranking: "None: write every answer",
};

interface Props {
  call: Call;
  about: LabelAbout;
  form: LabelForm;
  setForm: (change: (form: LabelForm) => LabelForm) => void;
  indexKey: string;
  isBusy: boolean;
  onLabel: (params: object) => void;
  onError: (error: unknown) => void;
  onSaid: (said: string) => void;
}

/** The classes, with what they would be while they are typed. */
export function Classes(props: Props) {
  const { call, about, form, setForm, indexKey } = props;
  const [fold, setFold] = useState<"settings" | "sets" | null>(null);
  const [names, setNames] = useState<string[]>([]);
  const typed = form.rows.filter(({ text }) => text.trim());
  // Of several classes, what is not of one may be of another
  const wrong = typed.length === 1 ? typed[0]!.wrong : [];
  const preview = usePreview(call, indexKey, asClasses(form), wrong);
  const none = preview.rows.at(-1);
  const rows = form.rows.at(-1)?.text === "" ? form.rows : [...form.rows, BLANK];
  const fields = useRef<HTMLDivElement>(null);
  useEffect(() => {
    call<{ classes: string[] }>("names").then(({ classes }) => setNames(classes), () => undefined);
  }, [call]);

  const set = (change: Partial<LabelForm>) => setForm((before) => ({ ...before, ...change }));
  const setRows = (change: (rows: Row[]) => Row[]) => setForm((before) => ({ ...before, set: "", rows: change(before.rows) }));
  const setRow = (number: number, change: Partial<Row>) =>
    setRows((before) => rows.map((row, at) => ({ ...(before[at] ?? row), ...(at === number ? change : {}) })));
  const goTo = (number: number) => fields.current?.querySelectorAll<HTMLElement>("input")[number]?.focus();
  const paste = (number: number) => (event: ClipboardEvent) => {
    const lines = event.clipboardData.getData("text").split("\n").map((line) => line.trim()).filter(Boolean);
    if (lines.length < 2) return;
    event.preventDefault();
    const added = lines.map((text) => ({ ...BLANK, text }));
    setRows((before) => [...before.slice(0, number), ...added, ...before.slice(number + 1)]);
  };
  const addSelected = async (number: number) => {
    const { ids } = await call<{ ids: string[] }>("selected", { keys: [indexKey] });
    if (!ids.length) throw new Error("Nothing is selected: select patches in the grid, or labels of a picture");
    // Whatever is an example of one class is of no other
    setRows((before) => before.map((row, at) => ({
      ...row,
      examples: [...row.examples.filter((id) => !ids.includes(id)), ...(at === number ? ids : [])],
    })));
  };

  const params = { classes: asClasses(form), key: indexKey, settings: asSettings(form.settings), wrong };
  return (
    <>
      <div ref={fields} style={{ flex: 1, minHeight: 0, overflowY: "auto", paddingTop: 6 }}>
        <div style={{ fontSize: 12, opacity: 0.75, paddingBottom: 8 }}>{HINT}</div>
        {form.set ? (
          <p>The set “{form.set}” is open. It is too large to be edited here. <Plain onClick={() => set({ set: "" })}>Close it</Plain></p>
        ) : rows.map((row, number) => (
          <ClassRow key={number} number={number} row={row} names={names} counted={preview.of(row.text)}
            error={preview.errorOf(number)} isAlone={typed.length === 1} onPaste={paste(number)}
            onChange={(change) => setRow(number, change)} onNext={() => goTo(number + 1)}
            onSelected={() => void addSelected(number).catch(props.onError)}
            onDelete={() => setRows((before) => before.filter((_, at) => at !== number))} />
        ))}
        {form.set && preview.rows.slice(0, -1).map((one) => <Crops key={one.name} counted={one} />)}
        {preview.error && <p role="alert" style={{ color: "#d1373f", fontSize: 13 }}>{preview.error}</p>}
        {none && <Crops counted={none} />}
      </div>
      <div style={{ display: "flex", gap: 8, alignItems: "center", flexWrap: "wrap", fontSize: 13 }}>
        <Button variant="contained" disabled={props.isBusy || !(typed.length || form.set)}
          onClick={() => props.onLabel(params)}>Label</Button>
        <Plain isOn={fold === "settings"} onClick={() => setFold(fold === "settings" ? null : "settings")}>Settings</Plain>
        <Plain isOn={fold === "sets"} onClick={() => setFold(fold === "sets" ? null : "sets")}>Saved sets</Plain>
        <What call={call} settings={form.settings} />
      </div>
      {fold === "settings" && (
        <SettingsFold about={about} indexKey={indexKey} settings={form.settings} onKey={(key) => set({ key })}
          onChange={(change) => setForm((before) => ({ ...before, settings: { ...before.settings, ...change } }))} />
      )}
      {fold === "sets" && <Sets {...props} set={set} />}
    </>
  );
}

/** The classes of the form, as the panel's events take them. */
export function asClasses({ rows, set }: LabelForm) {
  return { set: set || null, lines: rows.map(({ text }) => text), examples: rows.map(({ examples }) => examples) };
}

function asSettings({ precision, confidence, sample, ...others }: Settings) {
  const numbers = { precision: Number(precision), confidence: Number(confidence) };
  return { ...others, ...numbers, sample: sample ? Number(sample) : null };
}

interface RowProps {
  number: number;
  row: Row;
  names: string[];
  counted: Counted | undefined;
  error: string;
  isAlone: boolean;
  onChange: (change: Partial<Row>) => void;
  onNext: () => void;
  onPaste: (event: ClipboardEvent) => void;
  onSelected: () => void;
  onDelete: () => void;
}

function ClassRow({ number, row, names, counted, error, isAlone, ...on }: RowProps) {
  const highlighted = useRef(false);
  const isTyped = row.text.trim() !== "";
  return (
    <div style={{ paddingBottom: 8 }} data-class={number}>
      <div style={{ display: "flex", gap: 6, alignItems: "center" }}>
        <Autocomplete freeSolo size="small" sx={{ flex: 1, minWidth: 120 }} options={names} inputValue={row.text}
          onInputChange={(_, text, reason) => reason !== "reset" || text ? on.onChange({ text }) : undefined}
          onHighlightChange={(_, option) => { highlighted.current = option !== null; }}
          onKeyDown={(event) => event.key === "Enter" && !highlighted.current && on.onNext()} onPaste={on.onPaste}
          renderInput={(params) => (
            <TextField {...params} label={`Class ${number + 1}`} error={Boolean(error)} helperText={error}
              placeholder="red apple: a red apple; not: a red ball" />
          )} />
        {row.examples.length > 0 && (
          <Chip size="small" label={`${row.examples.length} examples`} onDelete={() => on.onChange({ examples: [] })} />
        )}
        {row.wrong.length > 0 && (
          <Chip size="small" label={`${row.wrong.length} not`} onDelete={() => on.onChange({ wrong: [] })}
            title={isAlone ? "Answered “none of these”" : "Used while this is the only class"} />
        )}
        {isTyped && (
          <>
            <IconButton size="small" title="What is selected in the grid are examples" onClick={on.onSelected}
              aria-label={`Add examples to class ${number + 1}`}><span className="material-icons" style={{ fontSize: 18 }}>add_photo_alternate</span></IconButton>
            <IconButton size="small" title="Delete this class" onClick={on.onDelete}
              aria-label={`Delete class ${number + 1}`}><span className="material-icons" style={{ fontSize: 18 }}>close</span></IconButton>
          </>
        )}
      </div>
      {isTyped && counted && <Crops counted={counted} />}
    </div>
  );
}

function Crops({ counted: { name, count, crops } }: { counted: Counted }) {
  const said = `${spelled(name)} · ${count.toLocaleString("en")} ${count === 1 ? "region" : "regions"}`;
  return (
    <div style={{ padding: "2px 0" }}>
      <div style={{ fontSize: 12, opacity: 0.8 }}>{said}</div>
      {crops && <img src={crops} alt={said} style={{ display: "block", height: 72, maxWidth: "100%", objectFit: "cover", objectPosition: "left" }} />}
    </div>
  );
}

/** Says what the button does, with the number of regions to review. */
function What({ call, settings }: { call: Call; settings: Settings }) {
  const [said, setSaid] = useState("");
  const params = JSON.stringify({ settings: asSettings(settings) });
  useEffect(() => {
    let isOver = false;
    call<{ size: number; each: boolean }>("sample_size", JSON.parse(params)).then(
      ({ size, each }) => !isOver && setSaid(size ?
        `First ${size.toLocaleString("en")} regions${each ? " of each class" : ""}, drawn at random, are for you to review; nothing is written before.`
        : "Writes every answer; nothing is promised of them."),
      (error: Error) => !isOver && setSaid(error.message),
    );
    return () => { isOver = true; };
  }, [call, params]);
  return <span style={{ flex: "1 1 200px", opacity: 0.8 }}>{said}</span>;
}

interface SettingsProps {
  about: LabelAbout;
  indexKey: string;
  settings: Settings;
  onKey: (key: string) => void;
  onChange: (change: Partial<Settings>) => void;
}

function SettingsFold({ about, indexKey, settings, onKey, onChange }: SettingsProps) {
  const number = (name: "precision" | "confidence" | "sample", label: string, placeholder = "") => (
    <TextField size="small" type="number" label={label} value={settings[name]} placeholder={placeholder} sx={{ width: 150 }}
      inputProps={{ step: "any", min: 0 }} InputLabelProps={{ shrink: true }}
      onChange={(event) => onChange({ [name]: event.target.value })} />
  );
  return (
    <div style={{ display: "flex", gap: 10, alignItems: "center", flexWrap: "wrap", paddingTop: 6 }}>
      <Select size="small" value={indexKey} inputProps={{ "aria-label": "Index of the regions" }}
        onChange={(event) => onKey(event.target.value)}>
        {about.keys.map((key) => <MenuItem key={key} value={key}>{key}</MenuItem>)}
      </Select>
      <Complete label="Write to a field, or to field.attribute" value={settings.into} options={about.labelled}
        onChange={(into) => onChange({ into })} />
      <Select size="small" value={settings.mode} inputProps={{ "aria-label": "What is promised" }}
        onChange={(event) => onChange({ mode: event.target.value as Settings["mode"] })}>
        {Object.entries(MODES).map(([mode, label]) => <MenuItem key={mode} value={mode}>{label}</MenuItem>)}
      </Select>
      {settings.mode === "promise" && (
        <>
          {number("precision", "Share of right labels")}
          {number("confidence", "Confidence")}
          {number("sample", "Sample to review", "as needed")}
          <Check label="Promise it of each class for itself" value={settings.per_class}
            onChange={(per_class) => onChange({ per_class })} />
        </>
      )}
      <Check label="Also replace what people wrote" value={settings.overwrite} onChange={(overwrite) => onChange({ overwrite })} />
    </div>
  );
}

function Sets({ call, about, form, set, onSaid, onError }: Props & { set: (change: Partial<LabelForm>) => void }) {
  const [name, setName] = useState("");
  const save = async () => {
    onSaid((await call<{ said: string }>("save_set", { name, classes: asClasses(form) })).said);
  };
  const open = async (name: string) => {
    const { lines, examples } = await call<{ lines: string[]; examples: string[][] }>("open_set", { name });
    const rows = lines.map((text, at) => ({ ...BLANK, text, examples: examples[at] ?? [] }));
    set(rows.length ? { rows, set: "" } : { set: name });
  };
  return (
    <div style={{ display: "flex", gap: 8, alignItems: "center", flexWrap: "wrap", paddingTop: 6 }}>
      <TextField size="small" label="Name of the set" value={name} onChange={(event) => setName(event.target.value)} />
      <Plain onClick={() => void save().catch(onError)}>Save the classes</Plain>
      {about.sets.map((one) => <Plain key={one} onClick={() => void open(one).catch(onError)}>Open {one}</Plain>)}
    </div>
  );
}
