/** Scrolling of a list that grows at both ends. */
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Row } from "../core/rows";

const END_PX = 48;
const TOP_PX = 500;

export function useScroll(shown: readonly Row[]) {
  const box = useRef<HTMLElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  const [, setNearTop] = useState(false);
  const [below, setBelow] = useState(false);
  const stuck = useRef(true);
  const lastTop = useRef(0);
  /** The first message and the height of the list at the last render. */
  const before = useRef({ first: "", last: "", height: 0 });

  const measure = useCallback(() => {
    const element = box.current;
    if (!element) return;
    // The end may move away by itself (a line wraps, the window changes); only whoever scrolls up leaves it.
    const isAtEnd = element.scrollHeight - element.clientHeight - element.scrollTop < END_PX;
    if (isAtEnd) stuck.current = true;
    else if (element.scrollTop < lastTop.current - 1) stuck.current = false;
    lastTop.current = element.scrollTop;
    setAtEnd(stuck.current);
    if (stuck.current) setBelow(false);
    setNearTop(element.scrollTop < TOP_PX); // renders, so that whoever waits for it looks again
  }, []);

  /** Asked of the element itself: before the first scroll to the end, everything is near the top. */
  const isNearTop = useCallback(() => (box.current?.scrollTop ?? TOP_PX) < TOP_PX, []);

  const toEnd = useCallback(() => {
    const element = box.current;
    if (!element) return;
    stuck.current = true;
    element.scrollTop = element.scrollHeight;
    measure();
  }, [measure]);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const messages = shown.filter((row) => row.type === "message");
    const [first, last] = [messages[0]?.key ?? "", messages.at(-1)?.key ?? ""];
    const was = before.current;
    if (stuck.current) element.scrollTop = element.scrollHeight;
    else if (first !== was.first) element.scrollTop += element.scrollHeight - was.height;
    else if (last !== was.last) setBelow(true);
    before.current = { first, last, height: element.scrollHeight };
    measure();
  });

  // The keyboard of a phone, a growing composer, a font that arrives: the end stays in sight.
  useEffect(() => {
    const observer = new ResizeObserver(() => {
      const element = box.current;
      if (!element) return;
      if (stuck.current) element.scrollTop = element.scrollHeight;
      before.current.height = element.scrollHeight;
      measure();
    });
    for (const element of [box.current, inner.current]) if (element) observer.observe(element);
    return () => observer.disconnect();
  }, [measure]);

  return { box, inner, atEnd, isNearTop, below, toEnd, onScroll: measure };
}
