import { useCallback, useEffect, useRef, useState } from "react";

export interface Loaded<T> {
  data: T | null;
  error: string;
  reload: () => Promise<void>;
  set: (change: (data: T) => T) => void;
}

/** Fetches when the page opens, and again every so many seconds while it is looked at. */
export function useLoad<T>(fetch: () => Promise<T>, seconds = 0): Loaded<T> {
  const [data, setData] = useState<T | null>(null);
  const [error, setError] = useState("");
  const latest = useRef(fetch);
  latest.current = fetch;

  const reload = useCallback(async () => {
    try {
      setData(await latest.current());
      setError("");
    } catch (error) {
      setError((error as Error).message);
    }
  }, []);

  useEffect(() => {
    void reload();
    if (!seconds) return;
    const timer = setInterval(() => document.hidden || void reload(), seconds * 1000);
    return () => clearInterval(timer);
  }, [reload, seconds]);

  const set = useCallback((change: (data: T) => T) => {
    setData((data) => (data === null ? data : change(data)));
  }, []);
  return { data, error, reload, set };
}

/** Something that a button does: it can't be started twice, and what goes wrong is shown. */
export function useAct() {
  const [busy, setBusy] = useState("");
  const [error, setError] = useState("");
  async function act(name: string, work: () => Promise<unknown>) {
    if (busy) return false;
    setBusy(name);
    setError("");
    try {
      await work();
      return true;
    } catch (error) {
      setError((error as Error).message);
      return false;
    } finally {
      setBusy("");
    }
  }
  return { act, busy, error };
}
