import { Button, TextField } from "@mui/material";
import React, { FormEvent, useState } from "react";
import { Concept } from "../server/types";
import { Call } from "../server/useServer";
import { Plain } from "./ActionBar";
import { countAbove } from "./Scores";
import { Found } from "./useSearch";

const LONGEST = 64;

interface Props {
  call: Call;
  concepts: Concept[];
  current: string | null;
  onShow: (concept: Concept) => void;
  onDelete: (name: string) => void;
  onError: (error: Error) => void;
}

/** The searches that are watched, with how many regions wait for each. */
export function Concepts({ call, concepts, current, onShow, onDelete, onError }: Props) {
  const [asked, setAsked] = useState<Concept | null>(null);
  if (!concepts.length) return null;
  const remove = ({ name }: Concept) => {
    setAsked(null);
    call("delete_concept", { name }).then(() => onDelete(name), onError);
  };
  return (
    <div role="group" aria-label="Concepts" style={{ display: "flex", flexWrap: "wrap", gap: 6, alignItems: "center", fontSize: 13 }}>
      Watched:
      {concepts.map((concept) => (
        <span key={concept.name} style={{ display: "flex" }}>
          <Plain isOn={concept.name === current} onClick={() => onShow(concept)}
            title={[concept.said, ...concept.problems].join("\n")}>
            {concept.problems.length > 0 && "⚠ "}{concept.name}: {concept.waiting.toLocaleString("en")} new
          </Plain>
          <Plain onClick={() => setAsked(concept)} name={`Delete the concept ${concept.name}`}>✕</Plain>
        </span>
      ))}
      {asked && (
        <span role="alert">
          Delete “{asked.name}” and its list of {asked.waiting.toLocaleString("en")}?{" "}
          <Plain isOn onClick={() => remove(asked)}>Delete</Plain>{" "}
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
      style={{ display: "flex", flexWrap: "wrap", gap: 8, alignItems: "center", fontSize: 13 }}>
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
