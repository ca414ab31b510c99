import { Button, TextField } from "@mui/material";
import React, { FormEvent, useState } from "react";

interface Props {
  words: string;
  onAsk: (text: string, choices: string[]) => void;
  onClose: () => void;
}

/** A question about the best hits: they are ranked by how likely its first answer is. */
export function AskForm({ words, onAsk, onClose }: Props) {
  const [text, setText] = useState(words ? `is this ${/^(an?|the) /i.test(words) ? "" : "a "}${words}?` : "");
  const [choices, setChoices] = useState("yes, no");
  const answers = choices.split(",").map((one) => one.trim()).filter(Boolean);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onAsk(text.trim(), answers);
  };
  return (
    <form onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && onClose()}
      style={{ display: "flex", flexWrap: "wrap", gap: 8, alignItems: "center", paddingTop: 8 }}>
      <TextField size="small" label="Question" value={text} autoFocus sx={{ flex: "1 1 260px", maxWidth: 480 }}
        title="{label} stands for each region's own label" onChange={(event) => setText(event.target.value)} />
      <TextField size="small" label="Answers" value={choices} sx={{ flex: "0 1 180px" }}
        title="Separated by commas; the first is what the hits are ranked by" onChange={(event) => setChoices(event.target.value)} />
      <Button type="submit" variant="contained" size="small" disabled={!text.trim() || answers.length < 2}>
        Ask about the best
      </Button>
    </form>
  );
}
