/** What plugin/panel sends and takes, as JSON. */

export interface Picture {
  token: string;
  /** x, y, width and height, relative to the picture; null is the whole of it. */
  box: number[] | null;
}

export type Mode = "regions" | "unlabelled" | "pictures";

export interface Question {
  mode: Mode;
  words: string;
  avoid: string;
  like: string[];
  unlike: string[];
  picture: Picture | null;
  keys: string[];
  right: string[];
  wrong: string[];
  /** The attribute whose text the words are matched with too. */
  captions?: string | null;
  /** Of which concept these are the regions that wait. */
  concept?: string | null;
  /** What a language model was asked about the hits: the scores are those of its first choice. */
  prompt?: { text: string; choices: string[] } | null;
  k?: number | null;
  min_score?: number | null;
  stages?: object[] | null;
  at?: number;
}

export interface Suggestion {
  min_score: number | null;
  said: string;
}

export interface Answer {
  question: Question;
  /** Little-endian float32 of the best hits in rank order, as base64. */
  scores: string;
  total: number;
  low: number;
  high: number;
  /** How many scores lie in each of so many equal bins from low to high. */
  bars: number[];
  /** How many reach each of so many equally spaced thresholds from low to high, both included. */
  above: number[];
  /** So much a count below the listed hits may be off, in 19 of 20 searches; 0 where all were counted. */
  off_by: number;
  suggestion?: Suggestion | null;
  /** Examples and marked regions that are gone, and left out of the question. */
  lost: string[];
}

export type Mark = "right" | "wrong";

export interface Tile {
  rank: number;
  id: string;
  /** Null of a region that is gone. */
  sample: string | null;
  label_id: string | null;
  field: string | null;
  label: string | null;
  tags: string[];
  /** What a language model wrote of it. */
  caption?: string | null;
  /** Of a hit. */
  score: number | null;
  crop?: string;
}

export type Kind = "label errors" | "missing labels" | "badly drawn" | "doubled" | "duplicates" | "outliers";

/** A region of a finding. */
export interface OddRegion {
  id: string;
  score: number;
  /** The label that it may rather have, the id of the region that it repeats, or the box that it should have. */
  note: string;
  /** The probability of that label. */
  chance: number | null;
}

export interface Finding {
  /** Its key in the history. */
  entry: string;
  kind: Kind;
  key: string;
  /** Of the labels, whose errors they are. */
  attribute: string;
  /** The key of the index of the labels among which some are missing; empty of other kinds. */
  labels: string;
  said: string;
  /** Those that nobody has decided about, and how many others there are. */
  rows: OddRegion[];
  decided: number;
}

/** What there is to see of an odd region. */
export interface OddDetail {
  /** Ids of regions with the same label, or else of what it is to be compared with, and of some with the suggested one. */
  beside: [string[], string[]];
  /** Classes for the digits 1 to 9. */
  likely: string[];
}

/** Relative x and y in a picture. */
export type Point = [number, number];

/** Pictures drawn at random, with the marks on what has no region, and who made them; null where nobody has looked. */
export interface Audit {
  key: string;
  concept: string;
  pictures: { id: string; points: Point[] | null; judge: string | null }[];
  said: string;
  /** That is installed, and can be asked. */
  detector: string | null;
  /** The key of the job that asks it. */
  job: string;
}

export interface Job {
  id: string;
  key: string;
  title: string;
  label: string;
  progress: number;
  stopping: boolean;
  seconds_left?: number | null;
}

export interface JobOutcome {
  title: string;
  text: string;
  severity: "success" | "info" | "error";
  at: number;
}

export interface Jobs {
  jobs: Job[];
  outcome: JobOutcome | null;
}

export interface Done {
  id: string;
  said: string;
}

export interface Concept {
  name: string;
  said: string;
  waiting: number;
  problems: string[];
  /** Finds what waits. */
  question: Question;
}

/** What every panel knows of a dataset. */
export interface Dataset extends Jobs {
  dataset: string | null;
  fields: string[];
  resumable: Unfinished[];
}

export interface About extends Dataset {
  indexes: { key: string; said: string }[];
  history: { entry: string; said: string }[];
  concepts: Concept[];
  actions: Done[];
  views: string[];
}

/** What was begun and can be gone on with. */
export interface Unfinished {
  key: string;
  title: string;
  done: number;
  total: number;
}
