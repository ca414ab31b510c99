/**
 * Keys for the crops of the panels "Region search" and "Label regions".
 *
 * The FiftyOne App loads this file as it is, and shows the component where a panel has a
 * ComponentView of its name; plugin/panel/keys.py and plugin/label_panel/review_keys.py say what
 * that view holds. The cursor is kept here and moves without the server. Marks and pages are the
 * panel's own events, so a key does what a click does.
 *
 * A view with `on_take_back` is a review: its events set a mark and do not toggle it, `s` skips,
 * a click with the Alt key is `n`, and `u` also takes back what was marked on an earlier page.
 */
(function () {
  "use strict";

  const { createElement, useEffect, useLayoutEffect, useRef, useState } = window.React;
  const { useTriggerPanelEvent } = window.__foo__;
  const { PluginComponentType, registerComponent } = window.__fop__;

  const NAME = "AlphaClipKeys";
  const PANEL = "[data-cy^=panel-content]";
  const TILE = "img[data-region]";
  const SCROLL = "scroll-margin: 8px 0 60px;"; // what stands below a tile comes into view too
  const CURSOR = "outline: 3px solid #2f9bff; outline-offset: 2px;";
  const HAS_OWN_KEYS =
    "input, textarea, select, [role=combobox], [role=listbox], [role=menu], [role=slider]";
  const HELP_STYLE = { color: "var(--fo-palette-text-secondary)", fontSize: "0.8rem" };

  const ACTIONS = {
    ArrowLeft: (keys) => keys.step(-1),
    ArrowRight: (keys) => keys.step(1),
    ArrowUp: (keys) => keys.step(-keys.columns()),
    ArrowDown: (keys) => keys.step(keys.columns()),
    y: (keys) => keys.mark("right"),
    n: (keys) => keys.mark("wrong"),
    s: (keys) => (isReview(keys.view) ? keys.mark("skip") : keys.select()),
    u: (keys) => keys.takeBack(),
    "[": (keys) => keys.turn("on_previous", keys.view.page > 0),
    "]": (keys) => keys.turn("on_next", keys.view.page + 1 < keys.view.pages),
  };
  const SAME = { h: "ArrowLeft", l: "ArrowRight", k: "ArrowUp", j: "ArrowDown" };
  const MAY_REPEAT = /^Arrow/;

  registerComponent({ name: NAME, component: Keys, type: PluginComponentType.Component });
  registerComponent({
    name: "AlphaClipTyping",
    component: Typing,
    type: PluginComponentType.Component,
  });

  /**
   * Tells the panel that a person who types into its large field has paused. The App's own event
   * comes with each key, faster than it can be answered; of these, one waits for the other.
   */
  function Typing({ schema }) {
    const { view } = schema;
    const line = useRef(null);
    const trigger = useTriggerPanelEvent();
    const latest = useRef(null);
    latest.current = (done) => trigger(view.on_rest, {}, false, done);
    useLayoutEffect(() => {
      let timer = null;
      let isBusy = false;
      const rest = () => {
        timer = null;
        isBusy = true;
        latest.current(() => (isBusy = false));
      };
      const wait = () => (isBusy ? (timer = setTimeout(wait, view.rest_ms)) : rest());
      const listen = (event) => {
        const isOurs = line.current.closest(PANEL)?.contains(event.target);
        if (!isOurs || !event.target.matches("textarea")) return;
        clearTimeout(timer);
        timer = setTimeout(wait, view.rest_ms);
      };
      document.addEventListener("input", listen, true);
      return () => {
        clearTimeout(timer);
        document.removeEventListener("input", listen, true);
      };
    }, []);
    return createElement("div", { ref: line, "data-typing": view.on_rest });
  }

  function Keys({ schema }) {
    const { view } = schema;
    const [place, setPlace] = useState(0);
    const line = useRef(null);
    const review = useReview(view);
    const at = Math.min(place, view.tiles.length - 1);
    useEffect(() => setPlace(0), [view.page, view.tiles.join()]);
    const keys = actor(view, line, at, setPlace, review);
    useKeyDown(line, keys);
    useAltClick(line, keys);
    return createElement(
      "div",
      { ref: line, "data-keys": NAME, style: HELP_STYLE },
      createElement("style", null, styleOf(view.tiles[at])),
      view.help,
    );
  }

  /** What the keys act on: the tiles, with the cursor at one of them. */
  function actor(view, line, at, setPlace, review) {
    const panel = () => line.current.closest(PANEL);
    const move = (place) => {
      setPlace(place);
      panel().querySelector(imageOf(view.tiles[place]))?.scrollIntoView({ block: "nearest" });
    };
    const step = (places) => view.tiles[at + places] && move(at + places);
    return {
      view,
      step,
      columns: () => countColumns(panel()),
      select: () => review.change("choice", view.tiles[at], (value) => (value ? "" : "select")),
      turn: (event, isThere) => isThere && review.send(event, {}),
      mark: (mark) => {
        if (view.on_right) {
          review.change("mark", view.tiles[at], () => mark);
          step(1);
        }
      },
      markAt: (id, mark) => {
        setPlace(view.tiles.indexOf(id));
        review.change("mark", id, () => mark);
      },
      takeBack: () => {
        const place = view.tiles.indexOf(review.takeBack());
        if (place >= 0) move(place);
      },
    };
  }

  /**
   * Sends events one after the other, so that no answer overtakes a later one; until the last
   * answer is on the screen, `known` holds what was marked in the meantime.
   */
  function useReview(view) {
    const trigger = useTriggerPanelEvent();
    const { current: kept } = useRef({ queue: Promise.resolve(), waiting: 0, known: {}, log: [] });
    useLayoutEffect(() => {
      if (!kept.waiting) kept.known = {};
    }, [view]);
    useLayoutEffect(() => {
      kept.log = [];
    }, [view.log ?? view.search]);

    function send(event, params) {
      const answer = () =>
        new Promise((done) =>
          trigger(view[event], { ...params, search: view.search }, false, () => done()),
        );
      kept.waiting += 1;
      kept.queue = kept.queue.then(answer).then(() => (kept.waiting -= 1));
    }

    function valueOf(kind, id) {
      return kept.known[`${kind} ${id}`] ?? shownValue(view, kind, id);
    }

    /** Sets a value; where events toggle, an empty one takes the old value away. */
    function set(kind, id, value, params) {
      const emptied = isReview(view) ? "take_back" : valueOf(kind, id);
      send(`on_${value || emptied}`, { ...params, id });
      kept.known[`${kind} ${id}`] = value;
    }

    function change(kind, id, next) {
      const before = valueOf(kind, id);
      const after = next(before);
      if (before === after) return;
      const params = view.params?.[id];
      set(kind, id, after, params);
      kept.log.push({ kind, id, before, after, params });
    }

    /** Undoes the last change that a click has not undone yet, and returns the tile's id. */
    function takeBack() {
      for (let last = kept.log.pop(); last; last = kept.log.pop()) {
        const isGone = isReview(view) && !view.tiles.includes(last.id);
        if (isGone || valueOf(last.kind, last.id) === last.after) {
          set(last.kind, last.id, last.before, last.params);
          return last.id;
        }
      }
      return null;
    }

    return { send, change, takeBack };
  }

  function shownValue(view, kind, id) {
    const lists = kind === "mark" ? ["right", "wrong", "skip"] : ["select"];
    return lists.find((name) => view[name]?.includes(id)) ?? "";
  }

  function isReview(view) {
    return Boolean(view.on_take_back);
  }

  /** Has a click with the Alt key mark a crop of a review wrong, in place of its own event. */
  function useAltClick(line, keys) {
    const latest = useRef(keys);
    latest.current = keys;
    useLayoutEffect(() => {
      const listen = (event) => {
        const id = event.target.dataset?.region;
        const { view, markAt } = latest.current;
        const isOurs = event.altKey && isReview(view) && view.tiles.includes(id);
        if (!isOurs || !line.current.closest(PANEL)?.contains(event.target)) return;
        event.preventDefault();
        event.stopPropagation();
        markAt(id, "wrong");
      };
      document.addEventListener("click", listen, true);
      return () => document.removeEventListener("click", listen, true);
    }, []);
  }

  /** Listens for as long as the component is shown, with the keys of the latest rendering. */
  function useKeyDown(line, keys) {
    const latest = useRef(keys);
    latest.current = keys;
    useLayoutEffect(() => {
      const listen = (event) => {
        const key = SAME[event.key] ?? event.key;
        const isOurs = Object.hasOwn(ACTIONS, key) && isMeant(event, line.current.closest(PANEL));
        if (!isOurs) return;
        event.preventDefault();
        event.stopPropagation();
        if (!event.repeat || MAY_REPEAT.test(key)) ACTIONS[key](latest.current);
      };
      document.addEventListener("keydown", listen, true);
      return () => document.removeEventListener("keydown", listen, true);
    }, []);
  }

  /** Says whether a key is for the panel, and not for something that a person types into. */
  function isMeant(event, panel) {
    const isShortcut = event.ctrlKey || event.altKey || event.metaKey;
    // Many keyboards have the brackets on AltGr.
    if (isShortcut && !event.getModifierState("AltGraph")) return false;
    if (!panel || event.isComposing || event.target.isContentEditable || event.target.closest?.(HAS_OWN_KEYS)) return false;
    return panel.matches(":hover") || panel.contains(document.activeElement);
  }

  function styleOf(id) {
    return `${PANEL} ${TILE} { ${SCROLL} } ${PANEL} ${imageOf(id)} { ${CURSOR} }`;
  }

  function imageOf(id) {
    return `img[data-region="${CSS.escape(id)}"]`;
  }

  function countColumns(panel) {
    const tops = [...panel.querySelectorAll(TILE)].map((image) =>
      Math.round(image.getBoundingClientRect().top),
    );
    return tops.filter((top) => top === tops[0]).length;
  }
})();
