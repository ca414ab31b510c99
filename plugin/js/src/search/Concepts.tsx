import { Button, TextField } from "@mui/material";
import React, { FormEvent, useState } from "react";
import { Concept } from "../server/types";
import { Call } from "../server/useServer";
import { Plain } from "../page/controls";
import { countAbove } from "./Scores";
import { Found } from "./useSearch";

const HEIGHT = 64;
const LONGEST = 64;

interface Props {
  call: Call;
  concepts: Concept[];
  current: string | null;
  onShow: (concept: Concept) => void;
  onDelete: () => void;
  onError: (error: Error) => void;
}

/** The searches that are watched, with how many regions wait for each, with its list open, one can be deleted. */
export function Concepts({ call, concepts, current, onShow, onDelete, onError }: Props) {
  const [asked, setAsked] = useState<string | null>(null);
  const opened = concepts.find(({ name }) => name === current);
  return (
    <div role="group" aria-label="Concepts"
      style={{ display: "flex", flex: 1, minWidth: 0, flexWrap: "wrap", gap: 6, alignItems: "center", maxHeight: opened ? undefined : HEIGHT, overflowY: "auto" }}>
      {concepts.length > 0 && "Watched:"}
      {concepts.map((concept) => (
        <span key={concept.name}>
          <Plain isOn={concept === opened} onClick={() => onShow(concept)}
            title={[concept.said, ...concept.problems].join("\n")}>
            {concept.problems.length > 0 && "⚠ "}
            {concept.name}
            {concept.waiting > 0 && `: ${concept.waiting.toLocaleString("en")} new`}
          </Plain>
        </span>
      ))}
      {opened && asked !== opened.name && (
        <span><Plain onClick={() => setAsked(opened.name)}>Delete …</Plain></span>
      )}
      {opened && asked === opened.name && (
        <span role="alert">
          Delete “{opened.name}” and its list?{" "}
          <Plain isOn onClick={() => {
            setAsked(null);
            call("delete_concept", { name: opened.name }).then(onDelete, onError);
          }}>Delete</Plain>{" "}
          <Plain onClick={() => setAsked(null)}>Keep it</Plain>
        </span>
      )}
    </div>
  );
}

interface FormProps {
  found: Found;
  threshold: number;
  concepts: Concept[];
  onKeep: (name: string, minScore: number) => void;
  onClose: () => void;
}

/** Names a search, to be watched from the threshold on. */
export function ConceptForm({ found, threshold, concepts, onKeep, onClose }: FormProps) {
  const [name, setName] = useState(asName(found.question.words));
  // Where the slider was not moved, all matches
  const isMoved = countAbove(found, threshold) < found.total;
  const minScore = isMoved ? threshold : (found.suggestion?.min_score ?? threshold);
  const isThere = concepts.some((concept) => concept.name === name);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (name) onKeep(name, minScore);
  };
  return (
    <form onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && onClose()}
      style={{ display: "flex", flexWrap: "wrap", gap: 8, alignItems: "center", fontSize: 13, paddingTop: 8 }}>
      <TextField size="small" label="Name of the concept" value={name} autoFocus
        onChange={(event) => setName(asName(event.target.value))} />
      <Button type="submit" variant="contained" size="small" disabled={!name}>{isThere ? "Replace" : "Keep"}</Button>
      <span>
        New regions from cosine {minScore.toFixed(3)} on will wait:{" "}
        {countAbove(found, minScore).toLocaleString("en")} match now.
      </span>
    </form>
  );
}

/** A text as names of concepts are: a lowercase letter, then these, digits and underscores. */
function asName(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9_]+/g, "_").replace(/^[^a-z]+/, "").slice(0, LONGEST);
}
