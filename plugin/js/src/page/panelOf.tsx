import * as fos from "@fiftyone/state";
import { Alert, CircularProgress } from "@mui/material";
import React, { ComponentType, memo, useCallback, useEffect, useRef, useState } from "react";
import { useRecoilValue } from "recoil";
import { Dataset, Jobs } from "../server/types";
import { Call, Events, useServer } from "../server/useServer";

const BUSY_MS = 1000;
const IDLE_MS = 5000;

export interface PageProps<T> {
  call: Call;
  about: T;
  reload: () => Promise<void>;
}

/** Makes a panel of the page of a dataset, which begins anew where another dataset is opened. */
export function panelOf<T extends Dataset>(DatasetPage: ComponentType<PageProps<T>>) {
  // Whatever the App selects, filters or opens renders the panel, which holds what a call sends; not its page
  const Page = memo(DatasetPage) as unknown as typeof DatasetPage;
  return ({ schema }: { schema: { view: Events } }) => {
    const call = useServer(schema.view);
    const [about, error, reload] = useAbout<T>(call, useRecoilValue(fos.datasetName));
    if (error) return <Alert severity="error">{error.message}</Alert>;
    if (!about) return <CircularProgress size={24} sx={{ m: 2 }} />;
    if (!about.dataset) return <p>Open a dataset first.</p>;
    return <Page key={about.dataset} call={call} about={about} reload={reload} />;
  };
}

/** Reads what the dataset has, and again while jobs run or others may have changed it. */
function useAbout<T extends Dataset>(call: Call, dataset: string): [T | null, Error | null, () => Promise<void>] {
  const [about, setAbout] = useState<T | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const turn = useRef(0);
  const opened = useRef(Date.now() / 1000);
  const load = useCallback(async () => {
    const mine = ++turn.current;
    try {
      const about = await call<T>("about", { since: opened.current });
      if (mine === turn.current) setAbout(about);
      setError(null);
    } catch (error) {
      if (mine === turn.current) setError(error as Error);
    }
  }, [call]);
  useEffect(() => {
    opened.current = Date.now() / 1000;
    void load();
  }, [dataset, load]);
  useEffect(() => {
    let timer = 0;
    let isOver = false;
    const look = async () => {
      const now = await call<Jobs>("jobs", { since: opened.current }).catch(() => null);
      if (isOver) return;
      const wasBusy = isBusy;
      isBusy = Boolean(now?.jobs.length);
      if (now && (isBusy || wasBusy)) setAbout((before) => before && { ...before, ...now });
      // A short job may have come and gone between two looks
      const isNews = Boolean(now?.outcome && now.outcome.at !== lastEnd);
      lastEnd = now?.outcome?.at ?? lastEnd;
      if ((wasBusy && !isBusy) || isNews) void load();
      timer = window.setTimeout(look, isBusy ? BUSY_MS : IDLE_MS);
    };
    let isBusy = false;
    let lastEnd = 0;
    void look();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [call, dataset, load]);
  return [about, error, load];
}
