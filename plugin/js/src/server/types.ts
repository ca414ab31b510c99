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
  suggestion?: Suggestion | null;
}

export interface Tile {
  rank: number;
  id: string;
  /** Null of a region that is gone. */
  sample: string | null;
  label_id: string | null;
  field: string | null;
  label: string | null;
  tags: string[];
  /** The cosine of a hit. */
  score: number | null;
  crop?: string;
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

export interface About extends Jobs {
  dataset: string | null;
  fields: string[];
  indexes: { key: string; said: string }[];
  history: { question: Question; said: string }[];
  actions: Done[];
  views: string[];
}
