/** One measure of all nodes over the last minutes. */
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { clock } from "../core/format";
import { type Aligned, type Measure, ms, short } from "./model";

const HEIGHT = 150;

interface Props {
  measure: Measure;
  names: readonly string[];
  data: Aligned;
}

export function Chart({ measure, names, data }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const latest = useRef(data);
  latest.current = data;
  const key = names.join("\n");

  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const make = () => {
      chart.current?.destroy();
      chart.current = new uPlot(
        options(element, measure, key.split("\n")),
        latest.current as uPlot.AlignedData,
        element,
      );
    };
    const watcher = new ResizeObserver(() => chart.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    make();
    dark.addEventListener("change", make);
    watcher.observe(element);
    return () => {
      dark.removeEventListener("change", make);
      watcher.disconnect();
      chart.current?.destroy();
      chart.current = null;
    };
  }, [measure, key]);

  useEffect(() => {
    chart.current?.setData(data as uPlot.AlignedData);
  }, [data]);

  const shown = data.slice(1).map((series) => (series as readonly (number | null)[]).findLast((one) => one !== null));
  return (
    <figure class="chart" data-testid="operator-chart" data-measure={measure.key}>
      <figcaption>
        <strong>{measure.title}</strong>
        <span class="chart-now">
          {shown.map((value, index) => (
            <span key={names[index]} class={`series-${index % 6}`}>
              {value === null || value === undefined ? "–" : text(measure, value)}
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={place} class="chart-place" />
    </figure>
  );
}

/** A line has no point for a value without neighbours: those get one. */
function lone(chart: uPlot, index: number): number[] {
  const values = chart.data[index] ?? [];
  const none = (at: number) => values[at] === null || values[at] === undefined;
  return [...values.keys()].filter((at) => !none(at) && none(at - 1) && none(at + 1));
}

function text(measure: Measure, value: number): string {
  return measure.unit === "ms" ? ms(value) : `${short(value)}${measure.unit}`;
}

function options(element: HTMLElement, measure: Measure, names: readonly string[]): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: colour("--ink-soft"),
    font: `11px ${style.fontFamily}`,
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 } },
    padding: [8, 6, 0, 0],
    scales: { y: { range: (_, _low, high) => [0, high > 0 ? high * 1.15 : 1] } },
    axes: [
      {
        ...axis,
        size: 26,
        space: 60,
        incrs: [60, 120, 300],
        values: (_, splits) => splits.map((one) => clock(one * 1000)),
      },
      { ...axis, size: 46, space: 32, values: (_, splits) => splits.map((one) => text(measure, one)) },
    ],
    series: [
      {},
      ...names.map((label, index) => ({
        label,
        stroke: colour(`--series-${index % 6}`),
        width: 2,
        spanGaps: false,
        points: { show: true, size: 5, filter: lone },
      })),
    ],
  };
}
