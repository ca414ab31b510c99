import { Mark, Question } from "../server/types";
import { LabelForm } from "./types";

/** Makes a search a class: its words describe it, what was marked shows what is of it and what is not. */
export function withClass(form: LabelForm, question: Question, marks: Record<string, Mark>): LabelForm {
  const marked = (mark: Mark) => Object.keys(marks).filter((id) => marks[id] === mark);
  const without = question.avoid.split(",").map((text) => text.trim()).filter(Boolean);
  const name = quoted(question.words.trim() || "new class");
  const text = without.length ? `${name}; not: ${without.map(quoted).join(", ")}` : name;
  const examples = [...new Set([...question.like, ...marked("right")])];
  const wrong = [...new Set([...question.unlike, ...marked("wrong")])];
  const others = form.rows
    .filter((row) => row.text.trim() && row.text.split(/[:;]/)[0]!.trim() !== name)
    .map((row) => ({ ...row, examples: row.examples.filter((id) => !examples.includes(id)) }));
  const rows = [...others, { text, examples, wrong }];
  return { ...form, rows, set: "", step: "classes", key: question.keys[0] ?? form.key };
}

/** As a line of classes takes a text that has one of its separators in it. */
function quoted(text: string): string {
  return /[,;:]|^"/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
