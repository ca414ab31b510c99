/** What plugin/label_panel sends and takes, as JSON. */
import { Dataset, Tile } from "../server/types";

export interface LabelAbout extends Dataset {
  keys: string[];
  /** What was labelled into. */
  labelled: string[];
  sets: string[];
}

/** A class as it is typed, with the ids of regions that are of it, and of some that are not. */
export interface Row {
  text: string;
  examples: string[];
  wrong: string[];
}

export interface Settings {
  into: string;
  mode: "promise" | "ranking";
  precision: string;
  confidence: string;
  /** Empty is as many as the promise needs. */
  sample: string;
  per_class: boolean;
  overwrite: boolean;
}

export type Step = "classes" | "review" | "report";

/** What a tab keeps of the page. */
export interface LabelForm {
  step: Step;
  rows: Row[];
  key: string;
  /** A saved set that is too large to be edited, instead of the rows. */
  set: string;
  /** Of what was labelled into, what is reviewed and reported. */
  labelled: string;
  settings: Settings;
}

export const EMPTY_LABEL_FORM: LabelForm = {
  step: "classes", rows: [], key: "", set: "", labelled: "",
  settings: {
    into: "auto", mode: "promise", precision: "0.95", confidence: "0.9", sample: "", per_class: false,
    overwrite: false,
  },
};

export const labelFormName = (dataset: string) => `label:${dataset}`;

/** How many regions would be taken for a class, null for none of these, with a picture of some. */
export interface Counted {
  name: string | null;
  count: number;
  crops: string | null;
}

/** A class, null for none of these, or one of the two that say that nobody can tell. */
export type Answer = string | null;
export const SKIPPED = "(skipped)";
/** Wrong, but not said what is right: only this page tells it from what was skipped. */
export const WRONG = "(wrong)";

export interface Item {
  id: string;
  taken_for: Answer;
  purpose: "promise" | "training";
  answer?: Answer;
}

export interface Review {
  into: string;
  classes: string[];
  items: Item[];
  sample: number;
  reviewed: number;
  waiting: number;
  is_tested: boolean;
  has_failed: boolean;
  is_lost: boolean;
  next_sample: number;
  is_stale: boolean;
}

export type LabelTile = Pick<Tile, "id" | "sample" | "label_id" | "field" | "crop">;

interface Picked {
  id: string;
  label: Answer;
  score: number;
}

export interface Confusion {
  answer: Answer;
  truth: Answer;
  count: number;
  mistake: { id: string };
  example: { id: string; label: Answer; reviewed: boolean } | null;
}

export interface Bin {
  predicted: number;
  right: number;
  count: number;
  interval: [number, number];
}

export interface Report {
  into: string | null;
  run: string | null;
  learnt: number;
  sentence: string;
  lines: string[];
  is_last: boolean;
  next_sample: number;
  /** None of these is there before the first report. */
  has_failed?: boolean;
  least_sure?: Picked[];
  random?: Picked[];
  confusions?: Confusion[];
  reviewed?: number;
  wrong?: number;
  columns?: Record<string, string>;
  rows?: Record<string, string | number>[];
  bins?: Bin[];
  notes?: string[];
}

/** A run that was begun: the title of its job, and how many fields the dataset had. */
export interface Begun {
  into: string;
  title: string;
  fields: number;
}

export const spelled = (answer: Answer) => answer ?? "none of these";
